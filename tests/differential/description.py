"""A model and the calls that are made with it, as data: both sides are built from the same."""

from __future__ import annotations

import dataclasses
import typing as t

Values = dict[str, t.Any]
Body = dict[str, t.Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attribute:
    """An attribute of a model or map."""

    name: str
    kind: str
    """One of ``kinds.KINDS``."""

    attr_name: str | None = None
    null: bool | None = None
    default: tuple[str, t.Any] | None = None
    """``default`` or ``default_for_new``, and its value."""

    is_callable: bool = False
    """Whether the default is called for; one that is mutable always is."""

    key: t.Literal["hash", "range"] | None = None
    inner: tuple[Attribute, ...] = ()
    """The attributes of a map, or of the maps in a list."""

    @property
    def stored_name(self) -> str:
        return self.attr_name or self.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Index:
    """A secondary index. Its keys are attributes of the model."""

    name: str
    is_global: bool
    keys: tuple[Attribute, ...]
    index_name: str | None
    projection: str

    @property
    def stored_name(self) -> str:
        return self.index_name or self.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """One class of a hierarchy."""

    kind: t.Literal["mixin", "abstract", "stock", "model"]
    attributes: tuple[Attribute, ...] = ()
    indexes: tuple[Index, ...] = ()
    overrides: tuple[str, ...] = ()
    """Of ``overrides.OVERRIDES``."""

    meta: tuple[tuple[str, t.Any], ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Child:
    """A subclass that a discriminator names."""

    discriminator: str
    layer: Layer
    is_late: bool
    """Whether it is defined in the middle of the calls only."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A hierarchy, and what a discriminator tells apart."""

    layers: tuple[Layer, ...]
    """The first bases first. The last one is the model."""

    children: tuple[Child, ...] = ()

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        layers = (*self.layers, *(child.layer for child in self.children))
        return tuple(attribute for layer in layers for attribute in layer.attributes)

    @property
    def own_attributes(self) -> tuple[Attribute, ...]:
        """Those of the model itself."""
        return tuple(attribute for layer in self.layers for attribute in layer.attributes)

    @property
    def keys(self) -> tuple[Attribute, ...]:
        """The hash key, and the range key if there is one."""
        keys = [attribute for attribute in self.attributes if attribute.key]
        return tuple(sorted(keys, key=lambda key: t.cast(str, key.key)))

    @property
    def indexes(self) -> tuple[Index, ...]:
        return tuple(index for layer in self.layers for index in layer.indexes)


@dataclasses.dataclass(frozen=True)
class Condition:
    """A condition on an attribute, or several joined by ``and``, ``or`` or ``not``."""

    operator: str
    attribute: str | None
    operands: tuple[t.Any, ...]


@dataclasses.dataclass(frozen=True)
class Action:
    """A change of an attribute."""

    operator: str
    attribute: str
    operands: tuple[t.Any, ...]


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the server answers to one request."""

    body: Body
    status: int = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One call, and what the server answers to the requests that it makes."""

    replies: tuple[Reply, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Create(Step):
    """Create an instance, on which later steps call methods."""

    child: int | None
    values: Values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Call(Step):
    """Call a method that talks to the server; or one that does not, which has no twin."""

    on: str
    """``model``, ``item``, or the name of an index."""

    method: str
    args: tuple[t.Any, ...] = ()
    kwargs: Values = dataclasses.field(default_factory=Values)
    is_local: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Iterate(Call):
    """Call a method that gives items, and take some of them."""

    take: int = 8
    then: tuple[str, ...] = ()
    """Attributes of the iterator to look at after each item."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchWrite(Step):
    """Save and delete items in a batch."""

    operations: tuple[tuple[str, Values], ...]
    auto_commit: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransactGet(Step):
    """Get items in a transaction."""

    keys: tuple[tuple[t.Any, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransactWrite(Step):
    """Write items in a transaction: the method, the item's values, further arguments."""

    operations: tuple[tuple[str, Values, Values], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DefineLate(Step):
    """Define the subclasses that are late."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A model, and what is done with it."""

    model: Model
    steps: tuple[Step, ...]
