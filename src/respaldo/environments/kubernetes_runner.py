"""Runs commands inside one container of a pod, each by an exec of the API without a TTY.

Exec has no parameter for variables, and its arguments stand in audit logs. So variables travel first on standard
input, and a shell reads them before it runs the command. After the command the shell writes a mark to its output:
a kubelet that restarts has ended a stream in its middle with the status "Success" (seen with Kubernetes 1.34).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from respaldo.environments.base import Instance, Process, Runner
from respaldo.environments.kubernetes_api import ApiRefusedError, Upgraded
from respaldo.environments.kubernetes_errors import gone, not_running
from respaldo.environments.kubernetes_process import V4, V5, KubernetesProcess, PodContainer
from respaldo.errors import EnvironmentFailedError
from respaldo.language import _

PROTOCOLS: Final = (V5, V4)

# One line of assignments, quoted by us; `$_r_n` stands for a newline in a value.
_WITH_VARIABLES: Final = "_r_n='\n'; IFS= read -r _r_line && eval \"$_r_line\" && unset _r_n _r_line || exit 125\n"
_WITHOUT_INPUT: Final = '_r_mark=$1; shift; "$@" </dev/null; _r_status=$?; echo "$_r_mark"; exit "$_r_status"'

# What the command left of its input is taken away until we end it. Otherwise the unread input blocks the connection
# between API server and kubelet, and the status never comes (seen with Kubernetes 1.34). Every child is waited for,
# and none may die of SIGPIPE: an orphan that a signal ends makes a postmaster restart its server.
_WITH_INPUT: Final = """
_r_mark=$1; shift
"$@"; _r_status=$?
echo "$_r_mark"
cat >/dev/null
exit "$_r_status"
"""

# Where the input cannot be ended by itself it comes in pieces, each after a line with its length; 0 ends it.
_IN_PIECES: Final = """
_r_mark=$1; shift; exec 3<&0
{ trap '' PIPE
  while IFS= read -r size && [ "$size" -gt 0 ]; do dd bs="$size" count=1 iflag=fullblock; done <&3 2>/dev/null
} | { exec 3<&-; "$@"; _r_status=$?; echo "$_r_mark"; exit "$_r_status"; }
"""


class KubernetesRunner(Runner):
    """Runs commands in one container, as the container's own user. Thread-safe; holds no connection of its own."""

    def __init__(self, place: PodContainer, protocols: Sequence[str] = PROTOCOLS) -> None:
        self._place = place
        self._protocols = tuple(protocols)
        self._variables: Mapping[str, str] | None = None

    @property
    def instance(self) -> Instance:
        return self._place.instance

    def variables(self) -> Mapping[str, str]:
        if self._variables is None:
            completed = self.run(["cat", "/proc/self/environ"])
            if completed.status != 0:
                raise EnvironmentFailedError(
                    _("the variables of {name} cannot be read: {reason}").format(
                        name=self.instance.name, reason=completed.stderr.decode("utf-8", "replace").strip()
                    )
                )
            text = completed.stdout.decode("utf-8", "surrogateescape")
            split = (pair.partition("=") for pair in text.split("\0") if pair)
            self._variables = {name: value for name, _equals, value in split}
        return self._variables

    def start(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: bool = False) -> Process:
        mark = f"respaldo-{secrets.token_hex(16)}"
        variables = _WITH_VARIABLES if env else ""
        if stdin:
            upgraded = self._open_input(argv, mark, variables)
        else:
            script = ["sh", "-c", variables + _WITHOUT_INPUT, "sh", mark]
            upgraded = self._upgrade([*script, *argv], self._protocols, has_input=bool(env))
        process = KubernetesProcess(self._place, argv[0], upgraded, mark.encode(), has_stdin=stdin)
        if env:
            process.begin(_assignments(env))
        return process

    def _open_input(self, argv: Sequence[str], mark: str, variables: str) -> Upgraded:
        """Start the exec by the newest protocol that the server speaks."""
        if V5 in self._protocols:
            try:
                return self._upgrade(["sh", "-c", variables + _WITH_INPUT, "sh", mark, *argv], [V5], has_input=True)
            except ApiRefusedError as error:
                # A server that does not know v5 refuses the handshake; nothing was started.
                if V4 not in self._protocols or error.status not in {400, 403, 426} or "cannot" in error.reason:
                    raise
            self._protocols = (V4,)
        then = ["sh", "-c", variables + 'exec "$@"', "sh"] if variables else []
        return self._upgrade(["sh", "-c", _IN_PIECES, "sh", mark, *then, *argv], [V4], has_input=True)

    def _upgrade(self, command: Sequence[str], protocols: Sequence[str], *, has_input: bool) -> Upgraded:
        place = self._place
        query = [("container", place.container), ("stdout", "true"), ("stderr", "true")]
        query += [("stdin", "true")] if has_input else []
        query += [("command", part) for part in command]
        try:
            upgraded = place.api.upgrade(f"{place.path}/exec", query, protocols)
        except ApiRefusedError as error:
            if error.status == 404:
                raise gone(f"{place.namespace}/{place.pod}") from error
            if error.status == 400 and "not" in error.reason and "valid" not in error.reason:
                raise not_running(
                    self.instance.name, place.namespace, place.pod, place.container, error.reason
                ) from error
            raise
        if upgraded.protocol not in protocols:
            upgraded.wire.close()
            raise EnvironmentFailedError(
                _("the cluster at {server} answers exec in a protocol that is not known: {protocol}").format(
                    server=place.api.cluster.server, protocol=upgraded.protocol or "-"
                )
            )
        return upgraded


def _assignments(env: Mapping[str, str]) -> bytes:
    """Return one line of shell that exports these variables, whatever their values hold (NUL cannot be in one)."""
    words = []
    for name, value in env.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or "\0" in value:
            raise ValueError(f"not an environment variable: {name}")
        quoted = value.replace("'", "'\\''").replace("\n", "'\"$_r_n\"'")
        words.append(f"{name}='{quoted}'")
    return f"export {' '.join(words)}\n".encode("utf-8", "surrogateescape")
