"""Make kubernetes.json anew: what of Kubernetes' own schema a pod consists of, names and types only.

pip install kubernetes-validate && python tests/cluster/make_kubernetes.py
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

VERSION = "v1.37.0-local-strict"  # strict: no unknown fields
ROOTS = (
    "PodTemplateSpec",
    "Service",
    "ResourceRequirements",
    "SecurityContext",
    "EnvVar",
    "EnvFromSource",
    "VolumeMount",
)


def main() -> None:
    """Write every definition that a root leads to."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / VERSION
    known = json.loads((folder / "_definitions.json").read_text())["$defs"]
    found: dict[str, Any] = {}
    ahead = [f"io.k8s.api.core.v1.{name}" for name in ROOTS]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = bare(known[name])
            ahead += references(found[name])
    text = json.dumps({"$defs": dict(sorted(found.items()))}, separators=(",", ":"))
    (Path(__file__).parent / "kubernetes.json").write_text(text.replace('},"io.', '},\n"io.') + "\n")


def bare(node: Any) -> Any:
    """Without descriptions."""
    if isinstance(node, dict):
        return {key: bare(value) for key, value in node.items() if key != "description" or isinstance(value, dict)}
    return [bare(value) for value in node] if isinstance(node, list) else node


def references(node: Any) -> list[str]:
    """Names of the definitions that are used."""
    if isinstance(node, dict):
        own = [node["$ref"].removeprefix("#/$defs/")] if isinstance(node.get("$ref"), str) else []
        return own + [name for value in node.values() for name in references(value)]
    return [name for value in node for name in references(value)] if isinstance(node, list) else []


if __name__ == "__main__":
    main()
