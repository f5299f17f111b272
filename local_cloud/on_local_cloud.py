"""`python -m local_cloud.on_local_cloud COMMAND ARGS…`: run a command on the local cloud.

The command does not run at all unless the local cloud answers, so it can never reach a real account.
"""

import os
import sys

from local_cloud.env_file import DEFAULT_ENV_FILE, EnvFile, NoLocalCloud, local_cloud

NOT_RUN = 2
_COMMAND_NOT_FOUND = 127


def main() -> int:
    """Become the command, with the local cloud's variables and no profile of an account."""
    command = sys.argv[1:]
    if not command:
        print("usage: python -m local_cloud.on_local_cloud COMMAND ARGS…", file=sys.stderr)  # noqa: T201
        return NOT_RUN
    try:
        environ = local_cloud(EnvFile(DEFAULT_ENV_FILE))
    except NoLocalCloud as error:
        print(error, file=sys.stderr)  # noqa: T201
        return NOT_RUN
    others = {name: value for name, value in os.environ.items() if name != "MODAL_PROFILE"}
    try:
        os.execvpe(command[0], command, {**others, **environ})
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return _COMMAND_NOT_FOUND


if __name__ == "__main__":
    sys.exit(main())
