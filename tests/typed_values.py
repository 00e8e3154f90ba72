"""Values as DynamoDB sends them, for hypothesis: ordinary ones, odd ones, and wrong ones."""

from __future__ import annotations

import base64
import datetime
import typing as t

from hypothesis import strategies as st


def typed(kind: str, value: st.SearchStrategy[t.Any]) -> st.SearchStrategy[dict[str, t.Any]]:
    return st.fixed_dictionaries({kind: value})


texts = st.text(max_size=8)
numbers = st.one_of(
    st.integers(-(10**38), 10**38).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=20).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["0", "-0", "1E+5", "1.5e-130", "007", "+1", " 1 ", "1_0", "", "NaN", "٣"]),
    st.sampled_from(["9" * 38, "1" * 17 + "." + "1" * 21, "1e400", "true", "1 2", "-"]),
)
moments = st.datetimes(
    datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31, 23, 59, 59, 999999)
).map(lambda moment: moment.isoformat(timespec="microseconds") + "+0000")
nearly_moments = st.sampled_from(
    [
        "2025-01-02T03:04:05.000006+0100",
        "2025-01-02 03:04:05.000006+0000",
        "2025-01-02T24:00:00.000000+0000",
        "2025-13-02T03:04:05.000006+0000",
        "2025-01- 2T03:04:05.000006+0000",
        "2025-W1-2T03:04:05.000006+0000",
        "99-01-02T03:04:05.000006+0000",
        "٢٠٢٥-01-02T03:04:05.000006+0000",
        "2025-01-02T03:04:05.00006+00000",
        "",
    ]
)
binaries = st.binary(max_size=6)
encoded_binaries = st.one_of(binaries, binaries.map(base64.b64encode))
seconds = st.one_of(
    st.integers(-(10**9), 10**10).map(str),
    st.floats(-1e9, 1e10).map(repr),
    st.sampled_from(["1e20", "NaN", "-1.5", "1700000000.9999999"]),
)
scalars = st.one_of(
    typed("S", texts),
    typed("N", numbers),
    typed("B", binaries),
    typed("BOOL", st.booleans()),
    typed("NULL", st.just(True)),
    typed("SS", st.lists(texts, max_size=3)),
    typed("NS", st.lists(numbers, max_size=3)),
    typed("BS", st.lists(encoded_binaries, max_size=3)),
    st.just({}),
    st.just({"X": "unknown"}),
    st.just({"S": "both", "N": "1"}),
)
names = st.one_of(
    texts,
    st.sampled_from(["n", "number", "since", "notes", "null", "default", "attr_name", "self"]),
    st.sampled_from(["declared", "k", "size", "radius", "_user_instantiated", "attribute_values"]),
)


def containers(values: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return st.one_of(
        typed("L", st.lists(values, max_size=3)),
        typed("M", st.dictionaries(names, values, max_size=3)),
    )


anything = st.recursive(scalars, containers, max_leaves=8)
plain_maps = typed("M", st.dictionaries(names, anything, max_size=3))


def lists_of(values: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return typed("L", st.lists(st.one_of(values, typed("NULL", st.just(True))), max_size=3))


def maps_of(**values: st.SearchStrategy[t.Any]) -> st.SearchStrategy[t.Any]:
    return typed("M", st.fixed_dictionaries({}, optional=values))


dates = typed("S", st.one_of(moments, nearly_moments))
