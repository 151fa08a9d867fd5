"""Which package builds what: `type="FPN"` becomes `type="mmdet.FPN"`.

MMDetection and MMSegmentation both register `ResNet`, `CrossEntropyLoss`, `LoadAnnotations` and
many more. Where both are imported, a bare name is built by whichever package mmengine's default
scope names at that moment, silently; a name with its scope is built by its own.

The default scope must still be that package while a model is built (`Runner(default_scope=...)`;
mmengine's default is "mmengine"): default arguments inside MMDetection are bare names too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TypeVar

from mmengine.registry import Registry

T = TypeVar("T")


def prefix_types(config: T, scope: str) -> T:
    """A copy of `config` in which each `type` that `scope` registers is "<scope>.<type>".

    config: nested dicts, lists and tuples, mmengine's ConfigDict included (their types are
    kept); scope: "mmdet" or "mmseg". What the package does not register stays as it is: torch's
    optimizers, mmengine's hooks, mmcv's layers, `TrickleBackbone`, a name with a scope, a class.
    """
    names = _registered_names(scope)

    def prefixed(node: T) -> T:
        if isinstance(node, dict):
            copy = type(node)((key, prefixed(value)) for key, value in node.items())
            name = copy.get("type")
            if isinstance(name, str) and name in names:
                copy["type"] = f"{scope}.{name}"
            return copy
        if isinstance(node, list | tuple):
            return type(node)(prefixed(item) for item in node)
        return node

    return prefixed(config)


def _registered_names(scope: str) -> set[str]:
    """Every name in the registries of `scope`; imports the package whole, registers nothing else.

    Raises ModuleNotFoundError where the package is not installed.
    """
    import_module(f"{scope}.utils").register_all_modules(init_default_scope=False)
    registries = vars(import_module(f"{scope}.registry")).values()
    return {
        name
        for registry in registries
        if isinstance(registry, Registry) and registry.scope == scope  # not those it extends
        for name in registry.module_dict
    }
