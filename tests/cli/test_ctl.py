"""Where `edgeserver ctl` asks: the place is taken before and behind the command."""

import pytest
from click.testing import CliRunner

from edgeserver.cli import cli

COMMANDS = ["status", "reload", "roll", "drain"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_place_in_both_places(command: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The address may stand on either side of the command, or in the environment."""
    where = f"unix:{tmp_path_factory.mktemp('a')}/none.sock"
    runner = CliRunner()
    results = [
        runner.invoke(cli, ["ctl", "--admin", where, command]),
        runner.invoke(cli, ["ctl", command, "--admin", where]),
        runner.invoke(cli, ["ctl", "--admin", "unix:/other", command, "--admin", where]),
        runner.invoke(cli, ["ctl", command], env={"EDGESERVER_ADMIN": where}),
    ]
    assert {result.output for result in results} == {
        f"edgeserver: --admin {where}: No such file or directory; is the server running, with the"
        " same --admin, and as this user?\n"
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_no_place(command: str) -> None:
    """Without one it says what to give, and the variable that may say it."""
    result = CliRunner().invoke(cli, ["ctl", command], env={"EDGESERVER_ADMIN": None})
    assert result.exit_code == 2
    assert result.output == (
        "edgeserver: where is the server? Give the --admin that it was given, such as --admin"
        f" unix:/run/edgeserver/admin.sock, or set EDGESERVER_ADMIN (see edgeserver ctl {command}"
        " --help)\n"
    )


@pytest.mark.parametrize(
    "typed",
    [["--admin-token-file", "none", "status", "--admin", "127.0.0.1:1"],
     ["--admin", "127.0.0.1:1", "status", "--admin-token-file", "none"]],
    ids=["before", "behind"],
)  # fmt: skip
def test_the_token_in_both_places(typed: list[str]) -> None:
    """The token's file is read wherever it stands."""
    result = CliRunner().invoke(cli, ["ctl", *typed])
    assert result.exit_code == 2
    assert "none" in result.output
