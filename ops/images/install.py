"""Fill the layers of an image: what a venv gets beyond the layer below it, and the code of one service.

python install.py packages LAYER    what /requirements/<layer>.txt names, beyond what the venv has already
python install.py code WHEEL        the wheel of framemesh, cut into what each image needs

Runs while images are built, with nothing but the standard library. What is new lies under `/layers/<name>` as it will
lie in the image, so that a layer holds nothing that one below it has: services share all but a few megabytes.
"""

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

VENV = Path("/opt/framemesh")
LAYERS = Path("/layers")
# No process reads them at run time; numpy's and re2's come to a tenth of what they install.
_NOT_NEEDED = ("tests", "test", "include", "*.pyi", "*.pyx", "*.pxd", "*.a", "*.h", "*.c")
# The command line takes pictures out of videos in a process of this service.
_CODE = {"cli": ("cli", "launcher", "frame_extractor")}


def main(arguments: list[str]) -> None:
    what, name = arguments
    if what == "packages":
        _packages(name)
    else:
        _code(Path(name))


def _packages(layer: str) -> None:
    """Install, and lay out what is new."""
    if not VENV.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], check=True)
        before: set[Path] = set()
    else:
        before = set(_files(VENV))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(VENV / "bin/python"))
    command = (*pip, "install", "--quiet", "--no-compile", "--prefer-binary", "-r", f"/requirements/{layer}.txt")
    subprocess.run(command, check=True)
    for pattern in _NOT_NEEDED:
        for path in list(_site_packages().glob(f"**/{pattern}")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # it lay in one that is gone already
    _compile(_site_packages())
    _lay_out(set(_files(VENV)) - before, LAYERS / layer)


def _code(wheel: Path) -> None:
    """`/layers/code` for all, `/layers/<service>` for its own."""
    site = LAYERS / "all" / _site_packages().relative_to("/")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    _compile(site, strip=str(LAYERS / "all"))
    services = [path.name for path in (site / "services").iterdir() if path.is_dir() and path.name != "__pycache__"]
    everything = set(_files(site))
    owned = {path for path in everything if path.relative_to(site).parts[:2] in {("services", one) for one in services}}
    _lay_out(everything - owned, LAYERS / "code", LAYERS / "all")
    for name in services:
        folders = {("services", part) for part in _CODE.get(name, (name,))}
        files = {path for path in owned if path.relative_to(site).parts[:2] in folders}
        _lay_out(files, LAYERS / name.replace("_", "-"), LAYERS / "all")
    script = LAYERS / "cli" / (VENV / "bin/framemesh").relative_to("/")
    script.parent.mkdir(parents=True)
    script.write_text(f"#!{VENV}/bin/python\nfrom services.cli.__main__ import main\n\nmain()\n")
    script.chmod(0o755)


def _site_packages() -> Path:
    return next((VENV / "lib").glob("python3*")) / "site-packages"


def _files(folder: Path) -> Iterable[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, name) for name in names)
        if root != str(folder) and Path(root).is_symlink():
            yield Path(root)


def _compile(folder: Path, strip: str = "") -> None:
    """Nothing can be compiled where the file system is read-only; and nothing in an image changes, so nobody looks."""
    compileall.compile_dir(
        folder,
        quiet=2,  # some packages carry files of other Pythons
        workers=0,
        stripdir=strip or None,
        prependdir="/" if strip else None,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _lay_out(files: Iterable[Path], layer: Path, root: Path = Path("/")) -> None:
    for path in files:
        target = layer / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)


if __name__ == "__main__":
    main(sys.argv[1:])
