"""Objects in S3, and in what speaks like it: written whole, linked to for a while, looked at."""

import logging
import re
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.store import S3Store

from services.frame_extractor.storage.accounts import Account
from services.frame_extractor.storage.errors import StorageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_log = logging.getLogger(__name__)

_MAX_STORES: Final = 64  # buckets that connections are kept for
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_PASSING_STATUSES: Final = frozenset((408, 425, 429))  # and all of 5xx
_MAX_LINK_SECONDS: Final = 7 * 86_400  # of signature version 4


class ObjectStore:
    """The buckets of one account. Any thread may use it, many at once; every method blocks."""

    def __init__(self, account: Account, connect_seconds: float, request_seconds: float) -> None:
        self.account = account
        self._connect_seconds = connect_seconds
        self._request_seconds = request_seconds
        self._stores: dict[str, S3Store] = {}
        self._lock = threading.Lock()

    def put(self, bucket: str, key: str, data: bytes, content_type: str) -> None:
        """Write an object whole, over what is there; one attempt.

        Raises:
            StorageError: storage; says whether it may pass.
        """
        store = self._store(bucket)
        try:
            # In one request: parts that nobody completes would stay in the bucket, unseen and paid for.
            obstore.put(store, key, data, attributes={"Content-Type": content_type}, use_multipart=False)
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise self._explained(error, bucket, key) from None

    def put_first(self, bucket: str, key: str, data: bytes) -> bool:
        """Write an object unless there is one; whether it was written. One attempt.

        A store that knows no condition (`If-None-Match`) writes it over what somebody has written just now.

        Raises:
            StorageError: storage; says whether it may pass.
        """
        store = self._store(bucket)
        try:
            obstore.put(store, key, data, use_multipart=False, mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return False
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise self._explained(error, bucket, key) from None
        return True

    def get(self, bucket: str, key: str, most_bytes: int) -> bytes:
        """An object, whole; one attempt.

        Raises:
            StorageError: storage; there is none, or it has more than `most_bytes`; says whether it may pass.
        """
        store = self._store(bucket)
        try:
            found = obstore.get(store, key)
            if found.meta["size"] > most_bytes:
                raise StorageError("storage", f"{self._name(bucket, key)}: has more than {most_bytes} bytes")
            return bytes(found.bytes())
        except FileNotFoundError:
            raise StorageError("storage", f"{self._name(bucket, key)}: there is no such object") from None
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise self._explained(error, bucket, key) from None

    def size_bytes(self, bucket: str, key: str) -> int:
        """Raises:
        StorageError: download where there is no such object, else storage; says whether it may pass.
        """
        store = self._store(bucket)
        try:
            return int(obstore.head(store, key)["size"])
        except FileNotFoundError:
            raise StorageError("download", f"{self._name(bucket, key)}: there is no such object") from None
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise self._explained(error, bucket, key) from None

    def link(self, bucket: str, key: str, seconds: float) -> str:
        """A URL that whoever has it may read the object with, for so long, a week at most. Secret. Asks nobody."""
        store = self._store(bucket)
        expires = timedelta(seconds=max(1, min(seconds, _MAX_LINK_SECONDS)))
        try:
            return obstore.sign(store, "GET", key, expires)
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise self._explained(error, bucket, key) from None

    def _store(self, bucket: str) -> S3Store:
        with self._lock:
            store = self._stores.get(bucket)
            if store is None:
                if len(self._stores) >= _MAX_STORES:
                    self._stores.pop(next(iter(self._stores)))
                store = self._stores[bucket] = self._open(bucket)
            return store

    def _open(self, bucket: str) -> S3Store:
        account = self.account
        endpoint, by_host = account.endpoint_of(bucket)
        client: ClientConfig = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=self._connect_seconds),
            "timeout": timedelta(seconds=self._request_seconds),
            "user_agent": "framemesh",
        }
        extra = {"session_token": account.session_token} if account.session_token else {}
        return S3Store(
            bucket,
            endpoint=endpoint,
            region=account.region,
            access_key_id=account.access_key,
            secret_access_key=account.secret_key,
            virtual_hosted_style_request=by_host,
            client_options=client,
            # Attempts are ours, see attempts.py: these could not be ended, and 429 would not be among them.
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=self._request_seconds)},
            **extra,  # type: ignore[arg-type]
        )

    def _name(self, bucket: str, key: str) -> str:
        return f"{self.account.scheme}://{bucket}/{key}"

    def _explained(self, error: Exception, bucket: str, key: str) -> StorageError:
        """The library's own words have whole answers in them; ours name the object, the reason and the fix."""
        text = str(error)
        status = int(found[1]) if (found := _STATUS.search(text)) else 0
        code = found[1] if (found := _CODE.search(text)) else ""
        what = self._name(bucket, key)
        _log.debug("%s: %s %s %s", what, type(error).__name__, status, code)
        if status == 404 or isinstance(error, FileNotFoundError):
            reason = "there is no such bucket" if code in ("NoSuchBucket", "") else f"the store answers {code}"
            return StorageError("storage", f"{what}: {reason}")
        if status in (401, 403):
            reason = f"the store refuses the credentials ({code or status}); check access key, secret key and policy"
            return StorageError("storage", f"{what}: {reason}")
        if status:
            passing = status >= 500 or status in _PASSING_STATUSES
            return StorageError("storage", f"{what}: the store answers {code or status}", may_pass=passing)
        if isinstance(error, obstore.exceptions.GenericError):
            where = self.account.endpoint or "AWS"
            reason = f"no answer from {where}; is it running, and the endpoint right?"
            return StorageError("storage", f"{what}: {reason}", may_pass=True)
        return StorageError("storage", f"{what}: cannot be stored under this name ({type(error).__name__})")
