"""What a mesh keeps, as one file and back again."""

from shared.backup.archive import Backup, Header, Record, read_archive, write_archive
from shared.backup.restore import Restored, restore
from shared.backup.take import take

__all__ = ["Backup", "Header", "Record", "Restored", "read_archive", "restore", "take", "write_archive"]
