"""images/ingress/routes.py and haproxy.py's configuration: which Ingresses count, and where a request goes."""
import unittest
from typing import Any, Optional

from haproxy import Ports, quote, render_certificates, render_config
from routes import Backend, Routes, Server, build_routes, is_ours, published_addresses

OURS = "lab.internal/ingress"
PORTS = Ports(8080, 8443, 8404)


def named(name: str, namespace: str = "web", annotations: Optional[dict[str, str]] = None, created: str = "",
          **fields: Any) -> tuple[tuple[str, str], Any]:
    metadata = {"namespace": namespace, "name": name, "annotations": annotations, "creationTimestamp": created}
    return (namespace, name), {"metadata": metadata, **fields}


def klass(name: str, controller: str = OURS, default: bool = False) -> tuple[tuple[str, str], Any]:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else None
    return named(name, "", annotations, spec={"controller": controller})


def service(name: str, *ports: Any) -> tuple[tuple[str, str], Any]:
    return named(name, spec={"ports": list(ports) or [{"port": 80}]})


def to(service_name: str, **port: Any) -> Any:
    return {"service": {"name": service_name, "port": port or {"number": 80}}}


def path(text: str, name: str, kind: str = "Prefix") -> Any:
    return {"path": text, "pathType": kind, "backend": to(name)}


def rule(host: Optional[str], *paths: Any) -> Any:
    return {**({"host": host} if host else {}), "http": {"paths": list(paths)}}


def built(*ingresses: Any, services: Any = (), endpoints: Any = ()) -> Routes:
    for _, item in ingresses:
        item["spec"].setdefault("ingressClassName", "lab")
    return build_routes(dict(ingresses), dict([klass("lab")]), dict(services), dict(endpoints), OURS)


class Classes(unittest.TestCase):
    def test_counts_by_the_controller_of_its_class(self) -> None:
        classes = dict([klass("lab"), klass("other", "example.com/other")])
        for wanted, name, annotations in (
            (True, "lab", None), (False, "other", None), (False, "gone", None), (False, None, None),
            (True, None, {"kubernetes.io/ingress.class": "lab"}), (False, "lab", {"kubernetes.io/ingress.class": "other"}),
        ):
            with self.subTest(name=name, annotations=annotations):
                _, item = named("i", annotations=annotations, spec={"ingressClassName": name})
                self.assertEqual(is_ours(item, classes, OURS), wanted)

    def test_without_a_class_counts_where_ours_is_the_default(self) -> None:
        _, item = named("i", spec={})
        self.assertTrue(is_ours(item, dict([klass("lab", default=True)]), OURS))
        self.assertFalse(is_ours(item, dict([klass("lab"), klass("other", "example.com/other", True)]), OURS))


class Order(unittest.TestCase):
    def test_exact_hosts_wildcards_any_host_and_the_longest_path_first(self) -> None:
        routes = built(named("i", spec={"defaultBackend": to("default"), "rules": [
            rule(None, path("/", "any")),
            rule("*.example.com", path("/", "wildcard")),
            rule("WWW.example.com", path("/", "root"), path("/web", "web"), path("/web", "exact", "Exact"),
                 path("/web/longer/", "longer", "ImplementationSpecific")),
        ]}))
        self.assertEqual([(each.host, each.path, each.exact) for each in routes.rules], [
            ("www.example.com", "/web/longer/", False), ("www.example.com", "/web", True), ("www.example.com", "/web/", False),
            ("www.example.com", "/", False), ("*.example.com", "/", False), ("", "/", False), ("", "", False)])

    def test_the_older_ingress_keeps_what_both_want(self) -> None:
        routes = built(named("a", created="2026-01-02T00:00:00Z", spec={"rules": [rule("x.org", path("/", "new"))]}),
                       named("b", created="2026-01-01T00:00:00Z", spec={"rules": [rule("x.org", path("", "old"))]}))
        self.assertEqual([each.backend for each in routes.rules], ["web:old:80"])
        self.assertEqual(routes.problems, ["Ingress web/a: host x.org, path / already belongs to Ingress web/b, which is older"])

    def test_v1beta1_says_the_same_in_other_words(self) -> None:
        old = built(named("i", spec={"backend": {"serviceName": "default", "servicePort": "http"}, "rules": [
            {"http": {"paths": [{"path": "/web", "backend": {"serviceName": "web", "servicePort": 80}}]}}]}))
        new = built(named("i", spec={"defaultBackend": to("default", name="http"),
                                     "rules": [rule(None, path("/web", "web"))]}))
        self.assertEqual(old, new)


class Backends(unittest.TestCase):
    ENDPOINTS = named("web", subsets=[
        {"addresses": [{"ip": "10.0.0.2", "targetRef": {"name": "web-b"}}, {"ip": "10.0.0.1", "targetRef": {"name": "web-a"}}],
         "notReadyAddresses": [{"ip": "10.0.0.9", "targetRef": {"name": "web-z"}}],
         "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 9000}]},
        {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"name": "http", "port": 81}]}])
    SERVICE = service("web", {"name": "http", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 81})
    READY = [Server("192.0.2.1:81", "192.0.2.1", 81), Server("web-a", "10.0.0.1", 8080), Server("web-b", "10.0.0.2", 8080)]

    def backend(self, target: Any, services: Any, endpoints: Any) -> Backend:
        routes = built(named("i", spec={"defaultBackend": target}), services=services, endpoints=endpoints)
        return next(iter(routes.backends.values()))

    def test_the_ready_endpoints_of_a_port_by_number_or_name(self) -> None:
        for port in ({"number": 80}, {"name": "http"}):
            self.assertEqual(self.backend(to("web", **port), [self.SERVICE], [self.ENDPOINTS]), Backend(self.READY, ""))

    def test_why_there_is_none(self) -> None:
        for target, endpoints, problem in (
            (to("gone"), [], "there is no Service web/gone"),
            (to("web", number=8080), [self.ENDPOINTS], "Service web/web has no port 8080"),
            (to("web", name="http"), [], "Service web/web has no ready endpoint"),
            ({"resource": {"kind": "Bucket"}}, [], "there is no Service web/-"),
        ):
            with self.subTest(problem):
                self.assertEqual(self.backend(target, [self.SERVICE], endpoints), Backend([], problem))


class Config(unittest.TestCase):
    def lines(self, *rules: Any, **more: Any) -> list[str]:
        text, problems = render_config(built(named("i", spec={"rules": list(rules), **more})), "", PORTS, "/run/x")
        self.assertEqual(problems, [])
        return [line.strip() for line in text.splitlines()]

    def test_conditions(self) -> None:
        lines = self.lines(rule("*.example.com", path("/web", "web")), rule(None, path("/a'b c", "exact", "Exact")),
                           defaultBackend=to("default"))
        for expected in (
            "use_backend web:web:80 if { var(txn.host),regsub(^[^.]+,*) -m str '*.example.com' }"
            " { var(txn.path) -m beg -- '/web/' }",
            r"use_backend web:exact:80 if { path -m str -- '/a'\''b c' }",
            "use_backend web:default:80",
            "http-request return status 503 content-type text/plain string 'there is no Service web/web'\"\\n\"",
        ):
            self.assertIn(expected, lines)

    def test_a_path_cannot_add_lines_to_the_configuration(self) -> None:
        routes = built(named("i", spec={"rules": [rule(None, path("/a\nglobal", "web", "ImplementationSpecific"))]}))
        text, problems = render_config(routes, "", PORTS, "/run/x")
        self.assertNotIn("\nglobal/", text)
        self.assertEqual(problems, [r"Ingress web/i: path '/a\nglobal/' has characters that no request can have"])
        self.assertEqual(quote("it's"), r"'it'\''s'")

    def test_certificates_by_their_hosts_and_every_change_is_a_new_configuration(self) -> None:
        routes = built(named("a", spec={"tls": [{"secretName": "s", "hosts": ["a.org", "*.b.org"]}, {"secretName": "t"}]}),
                       named("b", spec={"tls": [{"secretName": "s", "hosts": ["a.org", "c.org"]}, {"hosts": ["d.org"]}]}))
        files = {("web", "s"): "/s.1.pem", ("web", "t"): "/t.1.pem"}
        listed = render_certificates(files, routes)
        self.assertEqual(listed, "/s.1.pem a.org *.b.org c.org\n/t.1.pem\n")
        self.assertEqual(render_certificates({}, routes), "")
        first, second = (render_config(routes, text, PORTS, "/run/x")[0] for text in (listed, listed.replace("s.1", "s.2")))
        self.assertNotEqual(first[:800], second[:800])  # the marker is at its beginning


class Published(unittest.TestCase):
    ENDPOINTS = {"subsets": [{"addresses": [{"targetRef": {"name": "b"}}, {"targetRef": {"name": "a"}}]}]}
    PODS = dict(named(name, status={"hostIP": f"192.168.13.{node}"} if node else {})
                for name, node in (("a", 36), ("b", 35), ("c", 37)))

    def test_the_load_balancers_address_then_external_ips_then_the_nodes_that_serve(self) -> None:
        given = {"status": {"loadBalancer": {"ingress": [{"ip": "2.2.2.3", "ipMode": "VIP"}, {"hostname": "x.org"}]}}}
        self.assertEqual(published_addresses(given, self.ENDPOINTS, self.PODS), [{"ip": "2.2.2.3"}, {"hostname": "x.org"}])
        self.assertEqual(published_addresses({"spec": {"externalIPs": ["2.2.2.2"]}}, self.ENDPOINTS, self.PODS),
                         [{"ip": "2.2.2.2"}])
        self.assertEqual(published_addresses({"status": {"loadBalancer": {}}}, self.ENDPOINTS, self.PODS),
                         [{"ip": "192.168.13.35"}, {"ip": "192.168.13.36"}])
        self.assertEqual(published_addresses({}, {}, self.PODS), [])
