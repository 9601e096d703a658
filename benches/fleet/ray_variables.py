"""Variables that Ray reads when it is imported or started, which have to be set before."""

from __future__ import annotations

import os
import secrets
from collections.abc import MutableMapping

LOCAL = "local"


def set_variables(address: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Switches Ray's usage statistics off. A cluster of this machine alone listens on 127.0.0.1 only, for whoever knows a token that this
    process makes up: elsewhere Ray listens on every interface, and runs the code of everybody who connects."""
    environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == LOCAL:
        environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # which is what Ray calls listening for other machines
        environ["RAY_AUTH_MODE"] = "token"
        environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
