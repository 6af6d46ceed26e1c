"""Names as they were written, without parameters: of C++, of both manglings of Rust, and of C, which has none."""

from __future__ import annotations

import sys

import pytest

from sonde.enrich.symbols import demangle
from sonde.enrich.symbols.demangle import NAME_LENGTH_MAX, demangled, without_parameters

CPP = {
    "_ZN3foo3barISt6vectorIiSaIiEEEEvT_i": "foo::bar<std::vector<int, std::allocator<int>>>",
    "_ZN4shop4CartImE3addEm": "shop::Cart<unsigned long>::add",
    "_ZNK3FooclEv": "Foo::operator()",
    "_ZN12_GLOBAL__N_13barEv": "(anonymous namespace)::bar",
    "_ZN3FooltERKS_": "Foo::operator<",
    "_ZN1AcvbEv": "A::operator bool",
    "_ZZ4mainENKUlvE_clEv": "main::'lambda'()::operator()",
    "_Z3foov.cold": "foo",
    "_Z3fooi.constprop.0.isra.2": "foo",
}
OLDER_RUST = {
    "_ZN4core3fmt5write17h0123456789abcdefE": "core::fmt::write",
    "_ZN36_$LT$T$u20$as$u20$core..any..Any$GT$7type_id17habcdefabcdefabcdE": "<T as core::any::Any>::type_id",
    "_ZN3std2rt10lang_start28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE.llvm.12345": "std::rt::lang_start::{{closure}}",
}
RUST = {
    "_RNvCs4fqI2P2rA04_5hello4main": "hello::main",
    "_RINvNtC3std3mem8align_ofjE": "std::mem::align_of::<usize>",
}
PLAIN = {
    "main": "main",
    "__libc_start_main@@GLIBC_2.34": "__libc_start_main",
    "clock_nanosleep@GLIBC_2.2.5": "clock_nanosleep",
    "__GI___lll_lock_wait": "__lll_lock_wait",
    "helper.constprop.0": "helper",
    "ast2obj_expr.cold": "ast2obj_expr",
    "runtime.mallocgc": "runtime.mallocgc",
    "main.run.func1.2": "main.run.func1.2",
    "hash/crc32.init.0": "hash/crc32.init.0",
    "table.0.init.isra.0": "table.0.init",
    "_Zbroken": "_Zbroken",
    "_Z": "_Z",
    "puts@plt": "puts@plt",
    ".cold": ".cold",
    "": "",
}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    demangled.cache_clear()
    demangle._demangler.cache_clear()


@pytest.mark.parametrize(("mangled", "name"), (CPP | OLDER_RUST | RUST | PLAIN).items())
def test_names_are_as_in_the_source(mangled: str, name: str) -> None:
    pytest.importorskip("pydemumble")
    assert demangled(mangled) == name


def test_without_the_extra_the_machines_library_knows_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydemumble", None)
    if demangle._of_library()("_Z3foov") == "":
        pytest.skip("no C++ library: " + ", ".join(demangle.LIBRARIES))
    found = {name: demangled(name) for name in CPP | OLDER_RUST | RUST | PLAIN}
    # Of what is written differently in some libraries (closures, `> >`) only what is the same.
    assert {name: found[name] for name in OLDER_RUST} == OLDER_RUST
    assert found["_ZN4shop4CartImE3addEm"] == "shop::Cart<unsigned long>::add"
    assert {name: found[name] for name in RUST} == {name: name for name in RUST}


def test_with_nothing_names_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydemumble", None)
    monkeypatch.setattr(demangle, "LIBRARIES", ())
    assert demangled("_Z3foov") == "_Z3foov"


def test_endless_names_are_not_followed() -> None:
    """A demangler calls itself for what is in brackets: a name of 100,000 letters P would end us."""
    name = "_Z3foo" + "P" * 100_000 + "i"
    assert len(name) > NAME_LENGTH_MAX
    assert demangled(name) == name
    assert demangled("_Z3foo" + "P" * 2000 + "i")


@pytest.mark.parametrize(
    ("whole", "name"),
    [
        ("main", "main"),
        ("void f<int>(int)", "f<int>"),
        ("std::map<int, void (*)(int)>::find(int const&) const", "std::map<int, void (*)(int)>::find"),
        ("a::operator()(int)", "a::operator()"),
        ("std::ostream& operator<<(std::ostream&, x)", "operator<<"),
        ("f(int)::{lambda(int)#1}::operator()(int) const", "f(int)::{lambda(int)#1}::operator()"),
        ("operator new(unsigned long)", "operator new"),
        ("(anonymous namespace)::run(char**)", "(anonymous namespace)::run"),
    ],
)
def test_parameters_and_what_is_returned_are_left_out(whole: str, name: str) -> None:
    assert without_parameters(whole) == name
