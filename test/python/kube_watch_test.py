"""images/cluster-dns/kube_watch.py against a stand-in API server (support.FakeApi)."""
import contextlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path
from typing import Any

from kube_watch import Gone, KubeApi, Mirror, Refused
from support import FakeApi, eventually

PATH = "/api/v1/services"


class Mirroring(unittest.TestCase):
    def setUp(self) -> None:
        self.fake = FakeApi()
        self.path = f"/api/v1/{self.id()}"  # a Mirror never ends: those of other tests still log
        self.changes = 0
        self.logged: list[str] = []
        self.enterContext(unittest.mock.patch("kube_watch.log", self.logged.append))

    def tearDown(self) -> None:
        self.fake.stop()

    def mirror(self) -> Mirror:
        def changed() -> None:
            self.changes += 1
        mirror = Mirror(KubeApi(f"http://127.0.0.1:{self.fake.port}", ""), self.path, changed)
        mirror.start()
        return mirror

    def wait_for(self, mirror: Mirror, **expected: int) -> None:
        """Until the mirror holds exactly these objects of namespace n, by name and spec."""
        def holds() -> bool:
            return {key: item["spec"] for key, item in mirror.snapshot().items()} == {
                ("n", name): spec for name, spec in expected.items()}
        eventually(holds, 5, f"{expected}, got {mirror.snapshot()}; {self.logged}")

    def wait_for_line(self, text: str) -> None:
        """Until the mirror has logged this."""
        eventually(lambda: [line for line in self.logged if self.path in line and text in line],
                   5, text)

    def test_follows_additions_changes_and_deletions(self) -> None:
        self.fake.put(self.path, "n", "a", spec=1)
        mirror = self.mirror()
        self.wait_for(mirror, a=1)
        self.fake.put(self.path, "n", "b", spec=2)
        self.wait_for(mirror, a=1, b=2)
        self.fake.put(self.path, "n", "a", spec=3)
        self.fake.delete(self.path, "n", "b")
        self.wait_for(mirror, a=3)
        self.assertEqual(self.changes, 4)

    def test_an_empty_list_counts_as_synced(self) -> None:
        mirror = self.mirror()
        eventually(lambda: mirror.synced, 5, "synced")
        self.assertEqual((mirror.snapshot(), self.changes), ({}, 1))

    def test_keeps_what_it_knows_and_goes_on_where_it_was_after_an_outage(self) -> None:
        self.fake.put(self.path, "n", "a", spec=1)
        mirror = self.mirror()
        self.wait_for(mirror, a=1)
        before = self.fake
        before.stop()
        self.wait_for_line("trying again")
        self.wait_for(mirror, a=1)
        self.fake = FakeApi(before.port)
        self.fake.objects, self.fake.events, self.fake.version = before.objects, before.events, before.version
        self.fake.put(self.path, "n", "b", spec=2)
        self.wait_for(mirror, a=1, b=2)
        self.assertFalse([path for path, *_ in self.fake.requests if "watch=1" not in path], "it listed again")
        self.wait_for_line("watching again")

    def test_lists_again_when_its_version_is_gone(self) -> None:
        self.fake.put(self.path, "n", "a", spec=1)
        mirror = self.mirror()
        self.wait_for(mirror, a=1)
        self.fake.objects[self.path].clear()  # deleted, but the event is lost
        self.fake.compact()
        self.fake.put(self.path, "n", "b", spec=2)
        self.wait_for(mirror, b=2)
        self.assertEqual([path for path, *_ in self.fake.requests if "watch=1" not in path], [self.path, self.path])

    def test_a_bookmark_moves_the_version_and_is_no_change(self) -> None:
        mirror = self.mirror()
        eventually(lambda: mirror.synced, 5, "synced")
        self.fake.bookmark(self.path)
        eventually(lambda: mirror._version == str(self.fake.version), 5, "the bookmark's version")
        self.fake.put(self.path, "n", "a", spec=1)
        self.wait_for(mirror, a=1)
        eventually(lambda: self.changes == 2, 5, "the list and the object, and nothing else")
        self.assertEqual(len(self.fake.requests), 2, "the watch did not go on")

    def test_a_server_that_ends_each_watch_at_once_is_not_hammered(self) -> None:
        self.fake.stopped = True
        self.mirror()
        time.sleep(1.0)
        self.assertLess(len(self.fake.requests), 12)
        self.assertGreater(len(self.fake.requests), 2)


class Requests(unittest.TestCase):
    def test_the_token_is_read_for_each_request(self) -> None:
        with FakeApi() as fake, tempfile.NamedTemporaryFile("w") as token:
            api = KubeApi(f"http://127.0.0.1:{fake.port}", "", token.name)
            for text in ("first\n", "second"):
                token.seek(0)
                token.truncate()
                token.write(text)
                token.flush()
                api.list(PATH)
            self.assertEqual([headers["Authorization"] for _, headers, _ in fake.requests],
                             ["Bearer first", "Bearer second"])

    def test_http_410_is_gone_and_other_errors_carry_the_servers_words(self) -> None:
        for status, expected, words in ((410, Gone, ""), (403, OSError, "HTTP 403: services is forbidden")):
            with self.subTest(status), FakeApi() as fake:
                handler: Any = fake.server.RequestHandlerClass
                handler.do_GET = lambda self: self.json("services is forbidden", status)
                with self.assertRaises(expected) as caught:
                    KubeApi(f"http://127.0.0.1:{fake.port}", "").list(PATH)
                self.assertIn(words.split(": ")[0], str(caught.exception))

    def test_writes_json_and_tells_a_refusal_by_its_status(self) -> None:
        with FakeApi() as fake:
            api = KubeApi(f"http://127.0.0.1:{fake.port}", "")
            self.assertEqual(api.send("PATCH", PATH, {"status": "ü"}), {"status": "ü"})
            api.send("PUT", PATH, {})
            self.assertEqual(fake.written, [(PATH, "application/merge-patch+json", {"status": "ü"}),
                                            (PATH, "application/json", {})])
            fake.refused[PATH] = 403
            for method in ("GET", "PATCH"):
                with self.assertRaises(Refused) as caught:
                    api.send(method, PATH, None if method == "GET" else {})
                self.assertEqual(caught.exception.status, 403)

    def test_a_vanished_server_is_noticed_by_keepalive(self) -> None:
        with FakeApi() as fake:
            connection, _ = KubeApi(f"http://127.0.0.1:{fake.port}", "").request("GET", PATH, 1)
            with contextlib.closing(connection):
                self.assertEqual(connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)


class Tls(unittest.TestCase):
    """The certificates a cluster has: a CA, a server certificate with an address, a client certificate with its key."""

    def setUp(self) -> None:
        if not shutil.which("openssl"):
            self.skipTest("no openssl to make certificates with")
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name in ("ca", "other"):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                         "1", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign", "-keyout", f"{name}.key",
                         "-out", f"{name}.crt")
        for name, subject, extra in (("server", "/CN=kube-apiserver", ["-addext", "subjectAltName=IP:127.0.0.1"]),
                                     ("client", "/O=system:nodes/CN=system:node:k8sworker1", [])):
            self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
                         *extra, "-keyout", f"{name}.key", "-out", f"{name}.csr")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                         "-copy_extensions", "copy", "-days", "1", "-out", f"{name}.crt")
            (self.folder / f"{name}.pem").write_text(
                (self.folder / f"{name}.crt").read_text() + (self.folder / f"{name}.key").read_text())
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(str(self.folder / "server.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
        self.fake = self.enterContext(FakeApi(context=context))

    def openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def api(self, ca: str = "ca.crt", host: str = "127.0.0.1") -> KubeApi:
        return KubeApi(f"https://{host}:{self.fake.port}", str(self.folder / ca), cert=str(self.folder / "client.pem"))

    def test_logs_in_with_the_combined_file(self) -> None:
        self.api().list(PATH)
        self.assertIn((("commonName", "system:node:k8sworker1"),), self.fake.requests[0][2]["subject"])

    def test_trusts_only_the_clusters_ca_and_only_its_address(self) -> None:
        for api in (self.api(ca="other.crt"), self.api(host="localhost")):
            with self.assertRaises(ssl.SSLCertVerificationError):
                api.list(PATH)
        self.assertEqual(self.fake.requests, [])
