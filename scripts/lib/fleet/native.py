"""Servers of Debian's packages, each started as its own script or its manual has it."""
import os
import pwd
import re
import signal
import subprocess
from pathlib import Path

from fleet import client
from fleet.server import Place, Server, printed, run
from trial import folders

LISTENS = "127.0.0.1"


class PostgreSQL(Server):
    """pg_ctl start, as Debian's pg_ctlcluster does it."""
    name = "PostgreSQL"
    packages, programs = ("postgresql",), ("pgbench",)
    is_light = True
    title = "postgres"

    @property
    def bin(self) -> Path:
        return sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))[-1]

    def version(self) -> str:
        return printed(str(self.bin / "postgres"), "--version").split()[2]

    def prepare(self, place: Place) -> None:
        user = folders.user_of_servers()
        if user is not None:
            os.chown(place.home, user, user)
        run([self.bin / "initdb", "-D", "data", "-U", "me", "-A", "trust", "-N"], place, user)

    def command(self, place: Place) -> list[str]:
        options = f"-c listen_addresses={LISTENS} -p {place.port} -k {place.home} -c fsync=off"
        return [str(self.bin / "pg_ctl"), "-D", str(place.home / "data"), "-l", str(place.home / "postgres.log"), "-w",
                "-o", options, "start"]

    def is_ready(self, place: Place) -> bool:
        # It listens before it lets anybody in.
        ready = [str(self.bin / "pg_isready"), "-q", "-h", LISTENS, "-p", str(place.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def work(self, place: Place) -> int:
        whom = ["-h", LISTENS, "-p", place.port, "-U", "me", "postgres"]
        run([self.bin / "pgbench", "-i", "-s", "1", "-q", *whom], place)
        told = run([self.bin / "pgbench", "-c", "4", "-j", "2", "-T", "4", *whom], place)
        return int(re.search(r"actually processed: (\d+)", told)[1])

    def main(self, place: Place) -> int:
        return int((place.home / "data" / "postmaster.pid").read_text().split()[0])

    def stop(self, place: Place, pid: int) -> None:
        os.kill(pid, signal.SIGINT)  # "fast": sessions are ended


class MariaDB(Server):
    """mariadbd-safe, the script that its service and its manual start."""
    name = "MariaDB"
    packages, programs = ("mariadb-server",), ("mariadbd-safe", "mariadb-slap")
    title = "mariadbd"

    def version(self) -> str:
        return re.search(r"(\d+\.\d+\.\d+)", printed("mariadbd", "--version"))[1]

    def prepare(self, place: Place) -> None:
        user = folders.user_of_servers()
        if user is not None:
            os.chown(place.home, user, user)
        run(["mariadb-install-db", "--no-defaults", f"--datadir={place.home}/data", "--auth-root-authentication-method=normal",
             "--skip-test-db"], place, user)

    def command(self, place: Place) -> list[str]:
        return ["mariadbd-safe", "--no-defaults", f"--datadir={place.home}/data", f"--bind-address={LISTENS}",
                f"--port={place.port}", f"--socket={place.home}/m.sock", f"--pid-file={place.home}/m.pid",
                "--innodb-buffer-pool-size=64M", "--skip-syslog", f"--log-error={place.home}/error.log"]

    def main(self, place: Place) -> int:
        return int((place.home / "m.pid").read_text())

    def is_ready(self, place: Place) -> bool:
        return super().is_ready(place) and (place.home / "m.pid").exists()

    def work(self, place: Place) -> int:
        queries = 2000
        run(["mariadb-slap", "--no-defaults", f"--socket={place.home}/m.sock", "-uroot", "--auto-generate-sql",
             "--auto-generate-sql-load-type=mixed", "--concurrency=4", f"--number-of-queries={queries}"], place)
        return queries


class Redis(Server):
    """redis-server with a configuration that puts it into the background, as Debian's has it."""
    name = "Redis"
    packages, programs = ("redis-server", "redis-tools"), ("redis-server", "redis-benchmark")
    is_light = True
    title = "redis-server"

    def version(self) -> str:
        return re.search(r"v=(\S+)", printed("redis-server", "--version"))[1]

    def prepare(self, place: Place) -> None:
        (place.home / "redis.conf").write_text(
            f"bind {LISTENS}\nport {place.port}\ndaemonize yes\npidfile {place.home}/redis.pid\n"
            f"dir {place.home}\nlogfile {place.home}/redis.log\nsave 5 100\n")

    def command(self, place: Place) -> list[str]:
        return ["redis-server", str(place.home / "redis.conf")]

    def work(self, place: Place) -> int:
        requests = 5000
        run(["redis-benchmark", "-p", place.port, "-n", requests, "-c", "20", "-r", "20000", "-d", "200", "-t", "set,get,lpush",
             "-q"], place)
        run(["redis-cli", "-p", place.port, "bgsave"], place)
        return 3 * requests


class Nginx(Server):
    """nginx with a master in the background and two workers; started by root where we are."""
    name = "nginx"
    packages, programs = ("nginx-light",), ("nginx",)
    is_light = True
    title = "nginx: master"
    as_normal_user = False

    def version(self) -> str:
        return re.search(r"nginx/(\S+)", printed("nginx", "-v"))[1]

    def prepare(self, place: Place) -> None:
        www = place.home / "www"
        www.mkdir()
        (www / "index.html").write_text("<p>hello</p>\n" * 200)
        place.home.chmod(0o755)
        (place.home / "nginx.conf").write_text(f"""
            {'user www-data;' if os.getuid() == 0 else ''}
            worker_processes 2; pid {place.home}/nginx.pid; error_log {place.home}/error.log;
            events {{ worker_connections 256; }}
            http {{
                access_log off; gzip on; gzip_types text/html; root {www};
                client_body_temp_path {place.home}/b; proxy_temp_path {place.home}/p; fastcgi_temp_path {place.home}/f;
                uwsgi_temp_path {place.home}/u; scgi_temp_path {place.home}/s;
                server {{ listen {LISTENS}:{place.port}; }}
            }}
            """)

    def command(self, place: Place) -> list[str]:
        return ["nginx", "-c", str(place.home / "nginx.conf")]

    def main(self, place: Place) -> int:
        return int((place.home / "nginx.pid").read_text())

    def work(self, place: Place) -> int:
        return client.http(place.port)


class ApachePhp(Server):
    """Apache's prefork with PHP as a module, by `apache2 -k start`."""
    name = "Apache + PHP"
    packages, programs = ("apache2", "libapache2-mod-php"), ("apache2",)
    title = "apache2"
    as_normal_user = False
    MODULES = "/usr/lib/apache2/modules"

    def version(self) -> str:
        php = re.search(r"PHP (\d+\.\d+\.\d+)", printed("php", "-v"))
        return re.search(r"Apache/(\S+)", printed("apache2", "-v"))[1] + (f", PHP {php[1]}" if php else "")

    def prepare(self, place: Place) -> None:
        www = place.home / "www"
        www.mkdir()
        (www / "index.php").write_text(
            "<?php $rows = []; for ($i = 0; $i < 200; $i++) $rows[] = str_repeat(chr(65 + $i % 26), 1000);"
            " echo strlen(gzcompress(implode($rows)));")
        php = max(Path(self.MODULES).glob("libphp*.so"))
        loaded = {"mpm_prefork": "mod_mpm_prefork.so", "authz_core": "mod_authz_core.so", "dir": "mod_dir.so",
                  "mime": "mod_mime.so", "php": php.name}
        users = "User www-data\nGroup www-data\n" if os.getuid() == 0 else ""
        place.home.chmod(0o755)
        (place.home / "apache.conf").write_text(
            "\n".join(f"LoadModule {name}_module {self.MODULES}/{file}" for name, file in loaded.items())
            + f"\n{users}ServerRoot {place.home}\nServerName localhost\nListen {LISTENS}:{place.port}\n"
            f"PidFile {place.home}/apache.pid\nErrorLog {place.home}/error.log\nDocumentRoot {www}\nDirectoryIndex index.php\n"
            f"DefaultRuntimeDir {place.home}\nMutex file:{place.home}\nTypesConfig /etc/mime.types\n"
            f"<Directory {www}>\nRequire all granted\n</Directory>\n"
            "<FilesMatch \\.php$>\nSetHandler application/x-httpd-php\n</FilesMatch>\n")

    def command(self, place: Place) -> list[str]:
        return ["apache2", "-f", str(place.home / "apache.conf"), "-k", "start"]

    def main(self, place: Place) -> int:
        return int((place.home / "apache.pid").read_text())

    def work(self, place: Place) -> int:
        return client.http(place.port, "/index.php")


class HAProxy(Server):
    """haproxy -D, in an empty chroot, as its own configuration in Debian has it."""
    name = "HAProxy"
    packages, programs = ("haproxy",), ("haproxy",)
    title = "haproxy"
    # So that it is worth a dump in the seconds that it runs here.
    is_recovered, more_options = os.getuid() == 0, ",prof_min_seconds:0" if os.getuid() == 0 else ""
    as_normal_user = False

    def version(self) -> str:
        return re.search(r"version (\d+\.\d+\.\d+)", printed("haproxy", "-v"))[1]

    def prepare(self, place: Place) -> None:
        cell = place.folder / "cell"
        cell.mkdir(mode=0o755)
        self.backend = client.Backend()
        confined = ""
        if os.getuid() == 0:
            user = pwd.getpwnam("haproxy")
            confined = f"chroot {cell}\n uid {user.pw_uid}\n gid {user.pw_gid}\n"
        (place.home / "haproxy.cfg").write_text(
            f"global\n {confined} daemon\n pidfile {place.home}/haproxy.pid\n maxconn 500\n"
            "defaults\n mode http\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n"
            f"frontend f\n bind {LISTENS}:{place.port}\n default_backend b\n"
            f"backend b\n server s {LISTENS}:{self.backend.__enter__()}\n")

    def command(self, place: Place) -> list[str]:
        return ["haproxy", "-f", str(place.home / "haproxy.cfg")]

    def main(self, place: Place) -> int:
        return int((place.home / "haproxy.pid").read_text())

    def work(self, place: Place) -> int:
        return client.http(place.port)

    def stop(self, place: Place, pid: int) -> None:
        os.kill(pid, signal.SIGUSR1)  # a soft stop, as its service has it
        self.backend.__exit__()


class Gunicorn(Server):
    """gunicorn with two workers."""
    name = "gunicorn"
    packages, programs = ("gunicorn",), ("gunicorn",)
    title = "gunicorn"

    def version(self) -> str:
        return re.search(r"version (\S+?)\)?$", printed("gunicorn", "--version").strip())[1]

    def prepare(self, place: Place) -> None:
        (place.home / "shop.py").write_text(
            "import zlib\n"
            "def app(environ, start_response):\n"
            "    body = zlib.compress(environ['QUERY_STRING'].encode() * 2000)\n"
            "    start_response('200 OK', [('Content-Length', str(len(body)))])\n"
            "    return [body]\n")

    def command(self, place: Place) -> list[str]:
        return ["gunicorn", "-w", "2", "-b", f"{LISTENS}:{place.port}", "--pythonpath", str(place.home), "shop:app"]

    def work(self, place: Place) -> int:
        return client.http(place.port)


class Node(Server):
    """node server.js, which ends by SIGTERM without a word."""
    name = "Node"
    packages, programs = ("nodejs",), ("node",)
    title = "server.js"
    is_recovered = True

    def version(self) -> str:
        return printed("node", "--version").strip().lstrip("v")

    def prepare(self, place: Place) -> None:
        (place.home / "server.js").write_text(
            "const http = require('http'), zlib = require('zlib');\n"
            "http.createServer((request, response) => zlib.gzip(request.url.repeat(2000), (_, body) => response.end(body)))\n"
            f".listen({place.port}, '{LISTENS}');\n")

    def command(self, place: Place) -> list[str]:
        return ["node", "--max-old-space-size=256", str(place.home / "server.js")]

    def work(self, place: Place) -> int:
        return client.http(place.port)


ALL = (PostgreSQL, MariaDB, Redis, Nginx, ApachePhp, HAProxy, Gunicorn, Node)
