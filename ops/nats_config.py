"""The configuration of the embedded nats-server: one account for our processes, one for guests.

Pure. It must never let a guest read anything but the answers to guests.
"""

import hashlib
import json
import secrets
from pathlib import Path
from typing import Final

from shared import names
from shared.nats_errors import EMBEDDED_NAME

USER: Final = "threadwax"
GUEST: Final = "guest"

ACCOUNT: Final = "CHAT"
FORMER_ACCOUNT: Final = "$G"
"""The server's default account, which older versions used. It cannot export subjects."""

GUEST_CONNECTIONS: Final = 64
GUEST_SUBSCRIPTIONS: Final = 32
"""Per connection."""

GUEST_WAITS: Final = "15m"
"""How long the server remembers where to send an answer: longer than any answer takes. The server's
default is two minutes."""

_CONFIG: Final = """\
# Generated at every start: changes to this file are lost.
server_name: {name}
host: {host}
port: {port}
http: "{host}:{monitor_port}"  # no authentication, therefore on loopback
pid_file: {pid_file}
log_file: {log_file}
logfile_size_limit: 10MB
logfile_max_num: 2
max_payload: 1MB
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
jetstream {{
  store_dir: {store_dir}
  # By default JetStream acknowledges at once and syncs every two minutes.
  sync_interval: always
  max_mem: 128MB
  # The limit for all streams together (they reserve 3.3 GiB); the disk is not checked.
  max_file: 8GB
}}
accounts {{
  {account} {{
    jetstream: enabled
    users: [ {{ user: {user}, password: "{password}" }} ]
    exports: [
      {{ service: "{guests_subject}", accounts: [GUEST], response_threshold: "{guest_waits}" }}
    ]
  }}
  # Clients without credentials can ask and receive answers, and nothing else. Their own account
  # lets the server mark their requests.
  GUEST {{
    limits {{ max_connections: {guest_connections}, max_subscriptions: {guest_subscriptions} }}
    users: [
      {{ user: {guest}, password: "{guest_password}", permissions: {{
          publish: ["{gateway}"], subscribe: ["_INBOX.>"] }} }}
    ]
    imports: [
      {{ service: {{ account: {account}, subject: "{guests_subject}" }}, to: "{gateway}" }}
    ]
  }}
}}
no_auth_user: {guest}
"""


def server_name(password: str) -> str:
    """Returns the name of the server with this password, by which its clients recognize it."""
    return EMBEDDED_NAME + hashlib.sha256(password.encode()).hexdigest()[:12]


def rendered(*, host: str, port: int, monitor_port: int, folder: Path, password: str) -> str:
    """Returns the file's text. The password gives full access to the account of the streams."""
    return _CONFIG.format(
        name=server_name(password),
        pid_file=_quoted(folder / "nats.pid"),
        log_file=_quoted(folder / "nats-server.log"),
        store_dir=_quoted(folder / "js"),
        host=host,
        port=port,
        monitor_port=monitor_port,
        account=ACCOUNT,
        user=USER,
        password=password,
        guest=GUEST,
        # Nobody uses this password: clients without credentials become this user without one.
        guest_password=secrets.token_urlsafe(16),
        guest_connections=GUEST_CONNECTIONS,
        guest_subscriptions=GUEST_SUBSCRIPTIONS,
        guest_waits=GUEST_WAITS,
        gateway=names.GATEWAY_SUBJECT,
        guests_subject=names.GUESTS_SUBJECT,
    )


def _quoted(path: Path) -> str:
    # The configuration escapes quotes and backslashes in paths as JSON does.
    return json.dumps(str(path), ensure_ascii=False)
