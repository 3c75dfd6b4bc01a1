"""images/ingress/controller.py end to end: a stand-in API server (support.FakeApi), the real haproxy, real requests."""
import base64
import csv
import http.client
import http.server
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any, Optional

from support import FakeApi, Program, eventually, free_port

GROUP = "/apis/networking.k8s.io"
INGRESSES, CLASSES = f"{GROUP}/v1/ingresses", f"{GROUP}/v1/ingressclasses"
SERVICES, ENDPOINTS, PODS = "/api/v1/services", "/api/v1/endpoints", "/api/v1/namespaces/ingress/pods"
SECRET = "/api/v1/namespaces/web/secrets/tls"


class Pod:
    """A web server that says who it is and what it was asked; `hold` keeps a request open, `end` ends it at once."""

    def __init__(self, name: str) -> None:
        self.name, self.held, self.release = name, threading.Event(), threading.Event()
        pod = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == "/hold":
                    pod.held.set()
                    pod.release.wait(20)
                forwarded = [self.headers[f"X-Forwarded-{part}"] for part in ("For", "Proto")]
                body = " ".join([pod.name, self.headers["Host"], self.path, *forwarded]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """haproxy resets connections that it has no more use for."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def end(self) -> None:
        """Nobody listens any more."""
        self.server.shutdown()
        self.server.server_close()


class Controller(unittest.TestCase):
    def setUp(self) -> None:
        if not shutil.which("haproxy", path="/usr/sbin:/usr/bin"):
            self.skipTest("haproxy is not installed")
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "token").write_text("secret\n")
        (self.folder / "namespace").write_text("ingress")
        self.pods = {name: Pod(name) for name in ("a", "b", "c")}
        for pod in self.pods.values():
            self.addCleanup(pod.end)
        self.fake = self.enterContext(FakeApi())
        self.fake.documents[GROUP] = {"versions": [{"version": "v1"}, {"version": "v1beta1"}]}
        self.fake.put(CLASSES, "", "lab", spec={"controller": "lab.internal/ingress"})
        for service in ("web", "engine", "empty"):
            self.fake.put(SERVICES, "web", service, spec={"ports": [{"port": 80}]})
        self.fake.put(SERVICES, "ingress", "entry", spec={"ports": [{"port": 80}]})
        self.endpoints("web", "a", "b")
        self.endpoints("engine", "c")
        self.fake.put(ENDPOINTS, "ingress", "entry", subsets=[{"addresses": [{"ip": "10.0.0.9", "targetRef": {"name": "me"}}]}])
        self.fake.put(PODS, "ingress", "me", status={"hostIP": "192.168.13.36"})
        self.ingress("www.example.com", ("/", "web"), ("/engine", "engine"), ("/empty", "empty"))
        self.http, self.https, self.stats = free_port(), free_port(), free_port()
        self.env = {"HTTP_PORT": str(self.http), "HTTPS_PORT": str(self.https), "STATS_PORT": str(self.stats),
                    "RUN_DIR": str(self.folder / "run"), "SERVICE_ACCOUNT": str(self.folder), "KUBERNETES_SCHEME": "http",
                    "PUBLISH_SERVICE": "entry", "DRAIN_SECONDS": "1",
                    "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.fake.port)}

    def endpoints(self, service: str, *pods: str) -> None:
        """The ready pods of a Service of namespace web; each listens on a port of its own."""
        self.fake.put(ENDPOINTS, "web", service, subsets=[
            {"addresses": [{"ip": "127.0.0.1", "targetRef": {"name": pod}}], "ports": [{"port": self.pods[pod].port}]}
            for pod in pods])

    def ingress(self, host: str, *paths: tuple[str, str], tls: Any = ()) -> None:
        rules = [{"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
                 for path, service in paths]
        self.fake.put(INGRESSES, "web", "rules", spec={"ingressClassName": "lab", "tls": list(tls), "rules": [
            {"host": host, "http": {"paths": rules}}]})

    def start(self, until: str = "served after") -> Program:
        program = Program("images/ingress/controller.py", env=self.env)
        self.addCleanup(program.__exit__)
        if until:
            program.line(until)
        return program

    def get(self, path: str = "/", host: str = "www.example.com", port: int = 0,
            headers: Optional[dict[str, str]] = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.http, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def who(self, path: str = "/", times: int = 1) -> set[str]:
        """The pods that answered."""
        return {self.get(path)[1].split()[0] for _ in range(times)}

    def test_by_host_and_path_404_and_503(self) -> None:
        self.start()
        self.assertEqual(self.who(times=4), {"a", "b"})
        for path, host, expected in (
            ("/engine", "WWW.example.com:30080", (200, "c WWW.example.com:30080 /engine 127.0.0.1 http")),
            ("/engine/x?y=1", "www.example.com", (200, "c www.example.com /engine/x?y=1 127.0.0.1 http")),
            ("/empty", "www.example.com", (503, "Service web/empty has no ready endpoint\n")),
            ("/engine", "example.com", (404, "no Ingress rule for host example.com, path /engine\n")),
        ):
            with self.subTest(host + path):
                self.assertEqual(self.get(path, host), expected)
        self.assertIn(self.get("/enginex")[1].split()[0], "ab")

    def test_wildcards_are_one_label_and_exact_paths_are_the_whole_path(self) -> None:
        self.fake.put(INGRESSES, "web", "wildcard", spec={"ingressClassName": "lab", "rules": [
            {"host": "*.yolo.org", "http": {"paths": [
                {"path": "/exact", "pathType": "Exact", "backend": {"service": {"name": "engine", "port": {"number": 80}}}}]}}]})
        self.start()
        for path, host, status in (("/exact", "www.yolo.org", 200), ("/exact/", "www.yolo.org", 404), ("/", "a.yolo.org", 404),
                                   ("/exact", "a.b.yolo.org", 404), ("/exact", "yolo.org", 404)):
            with self.subTest(host + path):
                self.assertEqual(self.get(path, host)[0], status)

    def test_what_a_client_says_of_itself_is_not_forwarded(self) -> None:
        self.start()
        _, text = self.get("/engine", headers={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"})
        self.assertEqual(text, "c www.example.com /engine 127.0.0.1 http")

    def test_a_reload_loses_no_request_and_no_open_connection(self) -> None:
        program = self.start()
        failed, done, stop = [], [0], threading.Event()

        def ask() -> None:
            while not stop.is_set():
                try:
                    status, text = self.get()
                except (OSError, http.client.HTTPException) as error:
                    status, text = 0, repr(error)
                done[0] += 1
                if status != 200:
                    failed.append((status, text))
        held: list[Any] = []
        holder = threading.Thread(target=lambda: held.append(self.get("/hold")))
        asker = threading.Thread(target=ask)
        holder.start()
        asker.start()
        eventually(lambda: self.pods["a"].held.is_set() or self.pods["b"].held.is_set(), 5, "the held request")
        for pods in (("a", "b", "c"), ("c",), ("a", "b")):
            self.endpoints("web", *pods)
            program.line("haproxy reload")
            before = done[0]
            eventually(lambda: done[0] > before + 20, 10, "requests after the reload")  # pylint: disable=cell-var-from-loop
        stop.set()
        asker.join()
        for pod in self.pods.values():
            pod.release.set()
        holder.join()
        self.assertEqual(failed, [])
        self.assertEqual(held[0][0], 200)

    def test_a_pod_that_went_before_its_endpoint_costs_no_request(self) -> None:
        self.start()
        self.pods["a"].end()
        self.assertEqual([self.get()[0] for _ in range(6)], [200] * 6)

    def test_lists_its_backends_and_is_ready(self) -> None:
        self.start()
        self.assertEqual(self.get("/ready", port=self.stats)[0], 200)
        rows = list(csv.DictReader(self.get("/;csv", port=self.stats)[1].removeprefix("# ").splitlines()))
        self.assertEqual({(row["pxname"], row["svname"], row["addr"]) for row in rows if row["svname"] in self.pods},
                         {("web:web:80", "a", f"127.0.0.1:{self.pods['a'].port}"),
                          ("web:web:80", "b", f"127.0.0.1:{self.pods['b'].port}"),
                          ("web:engine:80", "c", f"127.0.0.1:{self.pods['c'].port}")})

    def test_logs_client_host_path_and_pod(self) -> None:
        program = self.start()
        self.get('/engine/x?y="1"')
        line = program.line("client=127.0.0.1:")
        self.assertRegex(line, r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ client=127\.0\.0\.1:\d+ method=GET host="www\.example\.com"'
                         r' path="/engine/x" status=200 backend=web:engine:80 pod=c address=127\.0\.0\.1:\d+ ms=\d+$')

    def test_writes_the_address_into_the_status_once_it_differs(self) -> None:
        program = self.start()
        program.line("Ingress web/rules: address 192.168.13.36")
        status = {"loadBalancer": {"ingress": [{"ip": "192.168.13.36"}]}}
        self.assertEqual(self.fake.written, [(f"{GROUP}/v1/namespaces/web/ingresses/rules/status",
                                              "application/merge-patch+json", {"status": status})])
        self.endpoints("web", "a")
        program.line("haproxy reload")
        self.assertEqual(len(self.fake.written), 1)

    def test_falls_back_to_v1beta1_where_there_is_no_v1(self) -> None:
        self.fake.documents[GROUP] = {"versions": [{"version": "v1beta1"}]}
        self.fake.put(f"{GROUP}/v1beta1/ingressclasses", "", "lab", spec={"controller": "lab.internal/ingress"})
        self.fake.put(f"{GROUP}/v1beta1/ingresses", "web", "rules", spec={"ingressClassName": "lab", "rules": [
            {"http": {"paths": [{"backend": {"serviceName": "engine", "servicePort": 80}}]}}]})
        self.start()
        self.assertEqual(self.who("/anything"), {"c"})

    def certificate(self, *names: str) -> dict[str, str]:
        """A Secret's data."""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", "tls.key", "-out", "tls.crt", "-subj", f"/CN={names[0]}",
                        "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)],
                       cwd=self.folder, check=True, capture_output=True)
        return {name: base64.b64encode((self.folder / name).read_bytes()).decode() for name in ("tls.crt", "tls.key")}

    def names(self, server_name: str) -> str:
        """The name in the certificate that is served for this name."""
        context = ssl.create_default_context(cafile=str(self.folder / "tls.crt"))
        with socket.create_connection(("127.0.0.1", self.https), 5) as sock:
            with context.wrap_socket(sock, server_hostname=server_name) as tls:
                certificate: Any = tls.getpeercert()
                return str(certificate["subject"][0][0][1])

    @unittest.skipUnless(shutil.which("openssl"), "no openssl to make certificates with")
    def test_tls_from_a_secret_by_name(self) -> None:
        self.ingress("www.example.com", ("/", "engine"), tls=[{"hosts": ["www.example.com"], "secretName": "tls"}])
        self.fake.refused[SECRET] = 404
        program, certificate = self.start(until=""), self.certificate("www.example.com")
        program.line("Secret web/tls: it does not exist")
        with self.assertRaises(ssl.SSLError):
            self.names("www.example.com")
        del self.fake.refused[SECRET]
        self.fake.documents[SECRET] = {"data": certificate}
        program.line("haproxy reload")
        self.assertEqual(self.names("www.example.com"), "www.example.com")
        with self.assertRaises(ssl.SSLError):
            self.names("other.example.com")
        context = ssl.create_default_context(cafile=str(self.folder / "tls.crt"))
        context.check_hostname = False
        with socket.create_connection(("127.0.0.1", self.https), 5) as sock:
            with context.wrap_socket(sock, server_hostname="www.example.com") as tls:
                tls.sendall(b"GET /x HTTP/1.0\r\nHost: www.example.com\r\n\r\n")
                self.assertIn(b"c www.example.com /x 127.0.0.1 https", tls.makefile("rb").read())
        mode = {path.stat().st_mode & 0o777 for path in (self.folder / "run/tls").iterdir()}
        self.assertEqual(mode, {0o600})
        # A new certificate is served soon; a broken one changes nothing for the rest.
        self.fake.documents[SECRET] = {"data": self.certificate("new.example.com", "www.example.com")}
        program.line("haproxy reload")
        self.assertEqual(self.names("www.example.com"), "new.example.com")
        self.fake.documents[SECRET] = {"data": {"tls.crt": "eHg=", "tls.key": "eHg="}}
        program.line("Secret web/tls is no certificate with its key")
        self.assertEqual(self.who("/"), {"c"})
        self.fake.refused[SECRET] = 403
        self.assertIn("kubectl create rolebinding", program.line("Secret web/tls: we may not read it"))

    def test_keeps_serving_while_the_api_is_away(self) -> None:
        program = self.start()
        self.fake.stop()
        program.line("trying again")
        self.assertEqual(self.who("/engine"), {"c"})

    def test_a_configuration_that_haproxy_does_not_accept_changes_nothing(self) -> None:
        program = self.start()
        self.endpoints("engine", "c")
        self.fake.put(ENDPOINTS, "web", "web", subsets=[
            {"addresses": [{"ip": "127.0.0.1 nonsense", "targetRef": {"name": "a"}}], "ports": [{"port": 80}]}])
        self.assertIn("unknown keyword", program.line("does not accept the new one"))
        self.assertEqual(self.who(times=4), {"a", "b"})
        self.endpoints("web", "a")
        program.line("haproxy reload")
        self.assertEqual(self.who(times=4), {"a"})

    def test_is_not_there_before_the_first_complete_list(self) -> None:
        self.fake.held.add(ENDPOINTS)
        program = self.start(until="")
        eventually(lambda: any("ingresses?watch=1" in path for path, *_ in self.fake.requests), 5, "the watch of Ingresses")
        with self.assertRaises(ConnectionRefusedError):
            self.get("/ready", port=self.stats)
        self.fake.release()
        program.line("served after")
        self.assertEqual(self.get("/ready", port=self.stats)[0], 200)

    def test_on_sigterm_it_goes_on_for_a_while_and_lets_requests_end(self) -> None:
        program = self.start()
        self.endpoints("web", "a")
        program.line("haproxy reload")
        held: list[Any] = []
        holder = threading.Thread(target=lambda: held.append(self.get("/hold")))
        holder.start()
        self.assertTrue(self.pods["a"].held.wait(5))
        program.process.terminate()
        program.line("SIGTERM: ends after 1 s")
        self.assertEqual(self.who("/engine"), {"c"})  # still taken
        time.sleep(1.2)
        self.pods["a"].release.set()
        holder.join()
        self.assertEqual(held[0][0], 200)
        self.assertEqual(program.process.wait(10), 0, program.stderr())

    def test_ends_with_code_1_when_haproxy_ends(self) -> None:
        program = self.start()
        children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
        self.assertEqual(len(children), 1)
        os.kill(int(children[0]), 9)
        self.assertEqual(program.process.wait(10), 1)
        self.assertIn("haproxy ended with code -9", program.stderr())
