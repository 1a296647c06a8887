"""Tests of `edgeserver.netutil`, on real sockets."""

import errno
import os
import pathlib
import socket
import stat
import subprocess
import sys

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.netutil import (
    bind_sockets,
    bind_unix_socket,
    is_valid_ip,
    listen_backlog,
    remove_unix_socket_file,
    served_families,
    socket_from_fd,
    systemd_sockets,
)


@pytest.fixture
def opened():
    """Give a list whose sockets are closed afterwards."""
    sockets = []
    yield sockets
    for sock in sockets:
        sock.close()


def accepts(address, family):
    """Return whether a client can connect to `address`."""
    with socket.socket(family) as client:
        return client.connect_ex(address) == 0


def test_sockets_listen_without_blocking_or_inheritance(opened):
    """A socket listens, does not block, and is closed when another program starts."""
    opened += bind_sockets(0, "127.0.0.1", backlog=5)
    (sock,) = opened
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
    assert sock.gettimeout() == 0.0
    assert not sock.get_inheritable()
    assert accepts(sock.getsockname(), socket.AF_INET)
    assert listen_backlog(sock) == 5


@pytest.mark.parametrize("address", [None, "", "localhost"], ids=["none", "empty", "localhost"])
def test_port_zero_is_the_same_everywhere(opened, address):
    """The system chooses one port, and all families get it."""
    opened += bind_sockets(0, address)
    assert len({sock.getsockname()[1] for sock in opened}) == 1
    assert len({sock.family for sock in opened}) == len(opened)


def test_ipv6_socket_takes_no_ipv4(opened):
    """An IPv6 socket leaves the port free for IPv4."""
    opened += bind_sockets(0, "::", socket.AF_INET6)
    (sock,) = opened
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    opened += bind_sockets(sock.getsockname()[1], "0.0.0.0")


def test_family_narrows(opened):
    """Only the family that was asked for is bound."""
    opened += bind_sockets(0, "localhost", family=socket.AF_INET)
    assert [sock.family for sock in opened] == [socket.AF_INET]


def test_reuse_port(opened):
    """With `reuse_port` two sockets share a port."""
    opened += bind_sockets(0, "127.0.0.1", reuse_port=True)
    port = opened[0].getsockname()[1]
    opened += bind_sockets(port, "127.0.0.1", reuse_port=True)
    assert len(opened) == 2


def test_taken_port_names_the_address(opened):
    """A taken port is an OSError that says which address, and keeps the errno."""
    opened += bind_sockets(0, "127.0.0.1")
    port = opened[0].getsockname()[1]
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: ") as caught:
        bind_sockets(port, "127.0.0.1")
    assert caught.value.errno == errno.EADDRINUSE


def test_address_of_another_machine_is_refused():
    """An address that this machine does not have is an error, not an empty list."""
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: ") as caught:
        bind_sockets(0, "192.0.2.1")
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_unresolvable_address_is_named():
    """A name that means nothing is a gaierror that shows it, escaped."""
    with pytest.raises(socket.gaierror, match=r"cannot resolve the address 'no such\\x1bname'"):
        bind_sockets(0, "no such\x1bname")
    with pytest.raises(socket.gaierror, match="cannot resolve the address 'localhost'"):
        bind_sockets(0, "localhost", flags=socket.AI_NUMERICHOST)


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".example", "."], ids=["gap", "long", "dot"])
def test_a_name_that_cannot_be_encoded_is_named(name):
    """A name that no resolver can be asked for is a gaierror like one that is not found."""
    with pytest.raises(socket.gaierror, match=r"cannot resolve the address .* empty or too long"):
        bind_sockets(0, name)


@pytest.mark.parametrize("port", [65536, 70000, -1, "70000", None, 80.0, b"80"])
def test_a_port_that_is_none_is_refused(port):
    """A resolver would take 70000 for 4464; nothing is listened on."""
    with pytest.raises(ConfigurationError, match="is no port: give a number from 0 to 65535"):
        bind_sockets(port, "127.0.0.1")


def test_a_port_as_text(opened):
    """A number as text is a port, as it is to Tornado."""
    opened += bind_sockets("0", "127.0.0.1")


def test_unix_socket(opened, tmp_path):
    """A Unix socket listens, and only its owner may connect."""
    path = str(tmp_path / "s")
    opened.append(bind_unix_socket(path, backlog=7))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert accepts(path, socket.AF_UNIX)
    assert opened[0].gettimeout() == 0.0
    assert listen_backlog(opened[0]) == 7


def test_unix_socket_mode(opened, tmp_path):
    """The mode is what was asked for, whatever the umask says."""
    path = str(tmp_path / "s")
    opened.append(bind_unix_socket(path, 0o666))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666


def test_unix_socket_in_the_abstract_namespace(opened):
    """A leading NUL is a name without a file."""
    name = f"\0edgeserver-test-{os.getpid()}"
    opened.append(bind_unix_socket(name))
    assert accepts(name, socket.AF_UNIX)
    with pytest.raises(OSError, match="cannot listen on unix:@edgeserver-test-"):
        bind_unix_socket(name)


def test_stale_unix_socket_is_replaced(opened, tmp_path):
    """A socket file that a dead process left behind does not stop the start."""
    path = str(tmp_path / "s")
    bind_unix_socket(path).close()
    assert not accepts(path, socket.AF_UNIX)
    opened.append(bind_unix_socket(path))
    assert accepts(path, socket.AF_UNIX)


@pytest.mark.parametrize("backlog", [128, 0], ids=["idle", "queue-full"])
def test_live_unix_socket_is_not_stolen(opened, tmp_path, backlog):
    """A socket that somebody listens on stays theirs, even if their queue is full."""
    path = str(tmp_path / "s")
    owner = bind_unix_socket(path, backlog=backlog)
    opened.append(owner)
    if backlog == 0:
        waiting = socket.socket(socket.AF_UNIX)
        opened.append(waiting)
        waiting.connect(path)
    inode = os.stat(path).st_ino
    with pytest.raises(OSError, match="a live process listens there") as caught:
        bind_unix_socket(path)
    assert caught.value.errno == errno.EADDRINUSE
    assert os.stat(path).st_ino == inode


def test_a_socket_file_is_removed_with_its_socket(opened, tmp_path):
    """The file goes although its socket is closed and its permissions were changed; once."""
    path = tmp_path / "s"
    opened.append(bind_unix_socket(str(path)))
    os.chmod(path, 0o666)
    opened[0].close()
    remove_unix_socket_file(opened[0])
    assert not path.exists()
    remove_unix_socket_file(opened[0])


def test_a_socket_file_of_another_process_is_kept(opened, tmp_path):
    """A server that ends late does not take away the file of the one that follows it."""
    path = tmp_path / "s"
    opened.append(bind_unix_socket(str(path)))
    opened[0].close()
    opened.append(bind_unix_socket(str(path)))
    remove_unix_socket_file(opened[0])
    assert accepts(str(path), socket.AF_UNIX)


def test_sockets_without_a_file_of_ours(opened, tmp_path):
    """A socket in the abstract namespace, and one that we did not make, have no file to remove."""
    opened.append(bind_unix_socket(f"\0edgeserver-test-{os.getpid()}-nofile"))
    opened.append(socket.socket(socket.AF_UNIX))
    opened[1].bind(str(tmp_path / "s"))
    for sock in opened:
        remove_unix_socket_file(sock)
    assert (tmp_path / "s").exists()


def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path):
    """It is not mistaken for a live server's file, and stays."""
    (tmp_path / "s").symlink_to(tmp_path / "absent")
    with pytest.raises(ConfigurationError, match="is a symbolic link that leads nowhere"):
        bind_unix_socket(str(tmp_path / "s"))
    assert (tmp_path / "s").is_symlink()


def test_datagram_socket_is_not_stolen(opened, tmp_path):
    """A living socket of another kind is kept as well."""
    path = str(tmp_path / "s")
    owner = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.append(owner)
    owner.bind(path)
    with pytest.raises(OSError, match="cannot listen on unix:"):
        bind_unix_socket(path)
    assert os.path.exists(path)


def test_regular_file_is_not_replaced(tmp_path):
    """A file of another kind is kept, and the error says what to do."""
    path = tmp_path / "data"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="is not a socket, so it is not replaced"):
        bind_unix_socket(str(path))
    assert path.read_text() == "precious"


@pytest.mark.parametrize("path", ["missing/s", "x" * 200], ids=["no-directory", "too-long"])
def test_unusable_unix_path_is_named(tmp_path, path):
    """A path that cannot be bound is an OSError that shows it."""
    with pytest.raises(OSError, match="cannot listen on unix:"):
        bind_unix_socket(str(tmp_path / path))


def test_socket_from_fd(opened):
    """A descriptor of a listening socket becomes a socket that works."""
    (sock,) = bind_sockets(0, "127.0.0.1")
    fd = sock.detach()
    os.set_inheritable(fd, True)
    os.set_blocking(fd, True)
    opened.append(socket_from_fd(fd))
    assert opened[0].gettimeout() == 0.0
    assert not opened[0].get_inheritable()
    assert accepts(opened[0].getsockname(), socket.AF_INET)
    assert listen_backlog(opened[0]) == socket.SOMAXCONN


def test_socket_from_fd_refuses_other_descriptors(tmp_path):
    """A file or a closed or impossible descriptor is refused by its number."""
    with open(tmp_path / "f", "w") as file:
        with pytest.raises(ConfigurationError, match=f"descriptor {file.fileno()} is not a socket"):
            socket_from_fd(file.fileno())
        closed = file.fileno()
    for fd in (closed, -5, 1 << 40):
        with pytest.raises(ConfigurationError, match=f"descriptor {fd} is not a socket"):
            socket_from_fd(fd)


def test_socket_from_fd_refuses_other_sockets(opened):
    """A datagram, unbound or connected socket is refused, and stays open."""
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    unbound = socket.socket()
    left, right = socket.socketpair()
    opened += [datagram, unbound, left, right]
    for sock, problem in [
        (datagram, "is not a stream socket"),
        (unbound, "is not bound"),
        (left, "is a connection"),
    ]:
        with pytest.raises(ConfigurationError, match=problem):
            socket_from_fd(sock.fileno())
        os.fstat(sock.fileno())


SYSTEMD_PROGRAM = """
import os, sys
sock_fd = int(sys.argv[1])
os.dup2(sock_fd, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
from edgeserver.netutil import systemd_sockets
(sock,) = systemd_sockets()
print(sock.fileno(), sock.getsockname()[1], os.get_inheritable(3), "LISTEN_FDS" in os.environ)
"""


def test_systemd_sockets():
    """Descriptors from 3 on become sockets, and the variables go."""
    (sock,) = bind_sockets(0, "127.0.0.1")
    with sock:
        done = subprocess.run(
            [sys.executable, "-c", SYSTEMD_PROGRAM, str(sock.fileno())],
            pass_fds=[sock.fileno()],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"3 {sock.getsockname()[1]} False False\n"


@pytest.mark.parametrize(
    "environment",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}, {"LISTEN_PID": ""}],
    ids=["none", "another-process", "no-pid", "empty"],
)
def test_no_systemd_sockets(monkeypatch, environment):
    """Without the variables, or with those of another process, there are none."""
    for name in ("LISTEN_PID", "LISTEN_FDS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert systemd_sockets() == []
    assert {name: os.environ.get(name) for name in environment} == environment


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 30, "\u0663"])
def test_malformed_systemd_variables_are_refused(monkeypatch, value):
    """A variable that is no number is refused by its name."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", value)
    with pytest.raises(ConfigurationError, match="LISTEN_FDS is not a number"):
        systemd_sockets()


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "2620:0:1cfe:face:b00c::3"])
def test_valid_ips(ip):
    """Addresses of both families are valid."""
    assert is_valid_ip(ip)


@pytest.mark.parametrize(
    "ip",
    ["", " ", "localhost", "1.2.3", "1.2.3.4<", " 1.2.3.4", "1.2.3.4:80", "[::1]", "\0", "a" * 100],
)
def test_invalid_ips(ip):
    """Names, ports, brackets and space are not."""
    assert not is_valid_ip(ip)


def test_nothing_stays_open_after_a_failure():
    """A failure in the middle closes the sockets made so far."""
    before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="cannot listen"):
        bind_sockets(0, "192.0.2.1")
    assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("family", "address", "v6only", "served"),
    [
        (socket.AF_INET, "127.0.0.1", None, "IPv4"),
        (socket.AF_INET, "0.0.0.0", None, "IPv4"),
        (socket.AF_INET6, "::1", False, "IPv6"),
        (socket.AF_INET6, "::", True, "IPv6"),
        (socket.AF_INET6, "::", False, "IPv4 and IPv6"),
        (socket.AF_UNIX, "", None, ""),
    ],
    ids=["loopback", "any-4", "loopback-6", "any-6", "any-both", "unix"],
)
def test_served_families(family: int, address: str, v6only: bool | None, served: str) -> None:
    """A socket says which families reach it, one that was inherited too."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        if v6only is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        if address:
            sock.bind((address, 0))
        assert served_families(sock) == served


def test_every_interface_is_both_families() -> None:
    """Without an address there is a socket for each family, on the same port."""
    sockets = bind_sockets(0)
    try:
        assert sorted(map(served_families, sockets)) == ["IPv4", "IPv6"]
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
    finally:
        for sock in sockets:
            sock.close()
