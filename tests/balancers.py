"""Load balancers from Debian's packages, set up as `docs/scaling.md` says."""

from __future__ import annotations

import asyncio
import os
import shutil
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.conftest import Eventually

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
_PATH = f"{os.environ['PATH']}:/usr/sbin"
_AROUND_NGINX = """\
daemon off;
{user}
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""


def on_the_page(first_line: str, gateways: Sequence[int], port: int) -> str:
    """Return the page's example that begins with a line, with our ports and without TLS."""
    _, _, rest = PAGE.read_text().partition(f"\n    {first_line}\n")
    block = []
    for line in rest.splitlines():
        if line and not line.startswith("    "):
            break
        block.append(line)
    text = textwrap.dedent("\n".join([f"    {first_line}", *block]))
    for number, gateway in enumerate(gateways, 1):
        text = text.replace(f"10.0.0.{number}:3713", f"127.0.0.1:{gateway}")
    lines = [line for line in text.splitlines() if "ssl_" not in line]
    return (
        "\n".join(lines)
        .replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
        .replace("bind :443 ssl crt /etc/haproxy/claw.pem", f"bind 127.0.0.1:{port}")
    ) + "\n"


@asynccontextmanager
async def nginx(folder: Path, server: str, port: int, eventually: Eventually) -> AsyncIterator[None]:
    """Yield a running nginx with a few blocks."""
    user = "user root;" if os.geteuid() == 0 else ""  # its workers have to reach the folder
    configuration = folder / "nginx.conf"
    configuration.write_text(_AROUND_NGINX.format(user=user, folder=folder, server=server))
    command = ("nginx", "-e", "stderr", "-p", str(folder), "-c", str(configuration))
    async with _running(command, port, eventually):
        yield


@asynccontextmanager
async def haproxy(folder: Path, sections: str, port: int, eventually: Eventually) -> AsyncIterator[None]:
    """Yield a running haproxy."""
    configuration = folder / "haproxy.cfg"
    configuration.write_text(sections)
    async with _running(("haproxy", "-db", "-f", str(configuration)), port, eventually):
        yield


@asynccontextmanager
async def _running(command: Sequence[str], port: int, eventually: Eventually) -> AsyncIterator[None]:
    program = shutil.which(command[0], path=_PATH) or command[0]
    process = await asyncio.create_subprocess_exec(program, *command[1:], stderr=asyncio.subprocess.PIPE)

    async def listens() -> bool:
        assert process.returncode is None, process.stderr and await process.stderr.read()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    try:
        await eventually(listens)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        _, errors = await process.communicate()
        print(errors.decode(errors="replace")[-3000:])  # noqa: T201 -- shown where a test fails
