"""Settings of other servers: what each of their flags is called here.

Decides the answer to a flag that people bring from uvicorn, gunicorn, hypercorn or granian, by what
it means and not by how it is spelled.
"""

from __future__ import annotations

__all__ = ["explain_flag"]

_SAME = {
    "--trust 10.0.0.5, which names your proxies": "--forwarded-allow-ips --proxy-headers"
    " --no-proxy-headers --proxy-allow-ips --forwarded-allow",
    "--trust 10.0.0.5 --bind :8000,proxy=any": "--proxy-protocol",
    "--bind unix:PATH": "--uds --unix-socket",
    "--bind fd:N": "--fd",
    "--bind unix:PATH,mode=660": "--umask --unix-socket-perms --uds-permissions",
    "--certfile FILE": "--ssl-certfile --ssl-certificate --tls-cert --cert",
    "--keyfile FILE": "--ssl-keyfile --tls-key --key",
    "--key-password-file FILE": "--ssl-keyfile-password --keyfile-password",
    "--ca-certs FILE": "--ssl-ca-certs --ssl-ca",
    "--cert-reqs none|optional|required": "--ssl-cert-reqs --verify-mode",
    "--ciphers LIST": "--ssl-ciphers",
    "--tls-policy modern for TLS 1.3 alone": "--ssl-version --ssl-protocol-min",
    "--crl FILE": "--ssl-crl --verify-flags",
    "--http-redirect PORT": "--insecure-bind",
    "--idle-connection-timeout SECONDS": "--timeout-keep-alive --keep-alive --keep-alive-timeout",
    "--graceful-timeout SECONDS": "--timeout-graceful-shutdown --workers-kill-timeout",
    "--worker-timeout SECONDS, for a worker whose event loop is held": "--timeout -t"
    " --timeout-worker-healthcheck",
    "--start-timeout SECONDS": "--startup-timeout",
    "--max-requests N": "--limit-max-requests --max-requests-jitter --limit-max-requests-jitter",
    "--max-lifetime 1d": "--workers-lifetime",
    "--max-memory 512M": "--workers-max-rss",
    "--max-in-flight N for requests, --max-connections N for connections": "--limit-concurrency",
    "--max-connections N": "--worker-connections --backpressure",
    "--max-header-size BYTES": "--h11-max-incomplete-event-size --http1-buffer-size"
    " --limit-request-line --limit-request-field-size --h11-max-incomplete-size",
    "--max-header-fields N": "--limit-request-fields",
    "--no-access-log": "--disable-redirect-access-to-syslog --no-access-log-file",
    "--access-log -|FILE|off": "--access-logfile --access-file",
    "--access-log-format text|json|combined": "--access-logformat --log-access-format"
    " --access-log-fmt",
    "standard error, which systemd or a container keeps": "--error-logfile --log-file"
    " --capture-output",
    "--admin ADDRESS, with /metrics for Prometheus": "--statsd-host --statsd-prefix",
    "--root-path PATH": "--url-path-prefix --root",
    "--threads N": "--blocking-threads --worker-threads",
    "seen from the application, or said with --interface": "--worker-class -k --worker-type",
    "not needed: HTTP is our own, WebSockets are there": "--http --ws",
    "HTTP/2: HTTP/3 is not spoken": "--quic-bind",
    "the application's: no Server is sent, and Date always is": "--header --server-header"
    " --no-server-header --date-header --no-date-header",
    "seen from the terminal and NO_COLOR": "--use-colors --no-use-colors",
    "known to systemd or the container that started it": "--pid --pidfile",
    "--port PORT; a file for the pid is not needed under systemd or in a container": "-p",
    "--loop auto|uvloop|asyncio": "--event-loop --runtime-mode",
    "--ws-max-size BYTES": "--websocket-max-message-size",
    "--ws-ping-interval SECONDS": "--websocket-ping-interval",
    "--ws-per-message-deflate": "--ws-per-message-deflate-enabled",
    "--app-dir DIR": "--chdir --pythonpath --working-dir",
    "--config FILE": "-c",
    "--reload, which watches --app-dir": "--reload-dir --reload-dirs --reload-paths"
    " --reload-include --reload-exclude --reload-delay --reload-engine --reload-extra-file",
    "not needed: each worker loads the application itself": "--preload",
    "systemd or a container, which also keep it running": "--daemon -D",
    "systemd's User=, or the user that starts it": "--user -u --group -g",
}

_ANSWERS = {flag: answer for answer, flags in _SAME.items() for flag in flags.split()}


def explain_flag(name: str) -> str:
    """Return what a flag of another server is here; empty for one that nobody has."""
    return _ANSWERS.get(name, "")
