"""The machine of whoever looks: its settings, the disk of its data, and whether its gateway is ready."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from shared.process.doctor.finding import Finding
from shared.setting_values import SettingsError
from shared.settings import load_credentials, unknown_variables
from shared.types import TIERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.process.doctor.finding import State
    from shared.settings import Settings

LEAST_FREE_MIB: Final = 64
"""Below that PostgreSQL and Valkey soon fail in ways of their own: a segment of PostgreSQL's log alone takes 16 MiB."""
LITTLE_MIB: Final = 1024
_MIB: Final = 1024 * 1024


def check_settings(settings: Settings) -> list[Finding]:
    """Check what `load_settings` lets pass: names that are no setting, credentials in part, a missing secret."""
    found = [
        Finding("settings", "wrong", unknown, "Correct or remove it: nobody reads it.")
        for unknown in unknown_variables()
    ]
    for tier in TIERS:
        try:
            load_credentials(tier)
        except SettingsError as error:
            found.append(Finding("settings", "wrong", str(error), "Correct it: no worker of its tier can start."))
    if settings.internal_secret is None:
        text = f"There is no internal secret, neither in PLUGIN_INTERNAL_SECRET nor in {settings.data_dir}"
        found.append(Finding("settings", "note", text, "nself claw up makes one; an api by itself needs it set."))
    return found or [Finding("settings", "ok", "Every variable is a setting with a value that can be used")]


def check_disk(settings: Settings) -> list[Finding]:
    """Check the disk of the data folder."""
    folder = settings.data_dir
    if not folder.is_dir():
        return [Finding("disk", "unchecked", f"There is no data folder {folder} on this machine")]
    free_mib = shutil.disk_usage(folder).free // _MIB
    mend = "Free some space, or put the data elsewhere: CLAW_DATA_DIR."
    state: State = "wrong" if free_mib < LEAST_FREE_MIB else "note" if free_mib < LITTLE_MIB else "ok"
    return [Finding("disk", state, f"{free_mib} MiB are free for {folder}", "" if state == "ok" else mend)]


def readiness(who: str, status: str, lacks: Mapping[str, str | None]) -> Finding:
    """Return what it means that a gateway says so of itself.

    Args:
        who: the gateway, for people.
        status: as `/ready` has it.
        lacks: what it has not, and why where that is known.
    """
    missing = "; ".join(f"{part}: {why}" if why else part for part, why in lacks.items())
    text = f"{who} is {status}" + (f": {missing}" if missing else "")
    if status == "ready":
        return Finding("api", "ok", text)
    state: State = "note" if status in {"degraded", "draining"} else "wrong"
    return Finding("api", state, text, "What is missing is said below, or in its log.")
