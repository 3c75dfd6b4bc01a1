"""From Ingresses, IngressClasses, Services and Endpoints to routes: pure functions, no I/O.

The rules are those of https://kubernetes.io/docs/concepts/services-networking/ingress/:

    class      an Ingress is ours when its class (the old annotation, else spec.ingressClassName) names an IngressClass of
               our controller; without a class, when one of ours is marked as the default
    host       the exact one first, then `*.` for exactly one more label, then rules without a host
    path       the longest first, Exact before Prefix; Prefix compares whole elements, and ImplementationSpecific is Prefix
    backend    a port of the Service by name or number, and from there the ready Endpoints: pods, not the cluster address

A rule that another Ingress has already goes to the older one. spec.defaultBackend comes after all rules. Both versions
of the API are read, v1 and v1beta1. Backends that are no Services (`resource`) and ExternalName have no endpoints here.
"""
from typing import Any, Iterator, NamedTuple, Union

from kube_watch import KubeObject, Objects

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"

Key = tuple[str, str]  # namespace and name


class Rule(NamedTuple):
    """One path of one host, or with an empty path a default backend."""

    host: str  # "" for any, "*.example.com"
    path: str
    exact: bool
    backend: str
    ingress: Key


class Server(NamedTuple):
    """One ready endpoint; its name is the pod's."""

    name: str
    address: str
    port: int


class Backend(NamedTuple):
    """One port of one Service."""

    servers: list[Server]
    problem: str  # why there is no server


class Routes(NamedTuple):
    """Everything that the Ingresses of our class ask for."""

    rules: list[Rule]  # in the order of matching
    backends: dict[str, Backend]  # by "namespace:service:port"
    certificates: dict[Key, list[str]]  # hosts by Secret; none: the names in the certificate
    ingresses: list[Key]
    problems: list[str]


def build_routes(ingresses: Objects, classes: Objects, services: Objects, endpoints: Objects, controller: str) -> Routes:
    """The routes of all Ingresses that are ours."""
    own = sorted((item for item in ingresses.values() if is_ours(item, classes, controller)), key=_age)
    rules: dict[tuple[str, str, bool], Rule] = {}
    routes = Routes([], {}, {}, [_key(item) for item in own], [])
    for item in own:
        for rule, target in _rules(item):
            first = rules.setdefault((rule.host, rule.path, rule.exact), rule)
            if first.backend != rule.backend:
                routes.problems.append(f"Ingress {_name(rule.ingress)}: host {rule.host or 'any'}, path {rule.path or 'any'}"
                                       f" already belongs to Ingress {_name(first.ingress)}, which is older")
            routes.backends[rule.backend] = build_backend(services, endpoints, rule.ingress[0], *target)
        for tls in item["spec"].get("tls") or []:
            if tls.get("secretName"):
                hosts = routes.certificates.setdefault((item["metadata"]["namespace"], tls["secretName"]), [])
                hosts.extend(host for host in tls.get("hosts") or [] if host not in hosts)
    routes.rules.extend(sorted(rules.values(), key=_precedence))
    return routes


def is_ours(ingress: KubeObject, classes: Objects, controller: str) -> bool:
    """Whether an Ingress is of a class of this controller."""
    own = {name: item for (_, name), item in classes.items() if item["spec"].get("controller") == controller}
    wanted = (ingress["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION) or ingress["spec"].get("ingressClassName")
    if wanted:
        return wanted in own
    return any((item["metadata"].get("annotations") or {}).get(DEFAULT_ANNOTATION) == "true" for item in own.values())


def build_backend(services: Objects, endpoints: Objects, namespace: str, name: str, port: Union[str, int]) -> Backend:
    """The ready endpoints of a Service's port."""
    service = services.get((namespace, name))
    if service is None:
        return Backend([], f"there is no Service {namespace}/{name}")
    ports = [each for each in service["spec"].get("ports") or [] if port in (each.get("name"), each["port"])]
    if not ports:
        return Backend([], f"Service {namespace}/{name} has no port {port}")
    servers = {
        Server((address.get("targetRef") or {}).get("name") or f"{address['ip']}:{target['port']}",
               address["ip"], target["port"])
        for subset in endpoints.get((namespace, name), {}).get("subsets") or []
        for target in subset.get("ports") or [] if target.get("name") == ports[0].get("name")
        for address in subset.get("addresses") or []}
    return Backend(sorted(servers), "" if servers else f"Service {namespace}/{name} has no ready endpoint")


def published_addresses(service: KubeObject, endpoints: KubeObject, pods: Objects) -> list[dict[str, str]]:
    """What an Ingress' status says: the addresses of the Service in front of us, else of the nodes that we run on."""
    given = [{kind: each[kind] for kind in ("ip", "hostname") if each.get(kind)}
             for each in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []]
    if given:
        return given
    addresses = set((service.get("spec") or {}).get("externalIPs") or [])
    if not addresses:
        ready = {(address.get("targetRef") or {}).get("name")
                 for subset in endpoints.get("subsets") or [] for address in subset.get("addresses") or []}
        addresses = {pod["status"]["hostIP"] for (_, name), pod in pods.items()
                     if name in ready and pod["status"].get("hostIP")}
    return [{"ip": address} for address in sorted(addresses)]


def _rules(item: KubeObject) -> Iterator[tuple[Rule, tuple[str, Union[str, int]]]]:
    """The rules of one Ingress, each with Service and port."""
    key, spec = _key(item), item["spec"]
    found: list[tuple[str, str, bool, Any]] = []
    for rule in spec.get("rules") or []:
        for path in (rule.get("http") or {}).get("paths") or []:
            exact = path.get("pathType") == "Exact"
            text = path.get("path") or "/"
            found.append((rule.get("host") or "", text if exact else text.rstrip("/") + "/", exact, path["backend"]))
    default = spec.get("defaultBackend") or spec.get("backend")
    if default:
        found.append(("", "", False, default))
    for host, path, exact, backend in found:
        service = backend.get("service") or {}
        port = service.get("port") or {}
        name = service.get("name") or backend.get("serviceName") or "-"
        number = port.get("name") or port.get("number") or backend.get("servicePort") or 0
        yield Rule(host.lower(), path, exact, f"{key[0]}:{name}:{number}", key), (name, number)


def _precedence(rule: Rule) -> tuple[int, int, bool, str, str]:
    """Smaller matches first; host and path at the end keep the order the same."""
    host = 2 if not rule.host else 1 if rule.host.startswith("*.") else 0
    length = len(rule.path.rstrip("/")) if rule.path else -1
    return host, -length, not rule.exact, rule.host, rule.path


def _age(item: KubeObject) -> tuple[str, str, str]:
    return (item["metadata"].get("creationTimestamp", ""), *_key(item))


def _key(item: KubeObject) -> Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _name(key: Key) -> str:
    return "/".join(key)
