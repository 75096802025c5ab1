# SPDX-License-Identifier: Apache-2.0
"""BCC: why it cannot be used, its environment, and what it prints from C."""

from __future__ import annotations

import builtins
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from ooMtrace.errors import CannotTraceError
from ooMtrace.kernel.obstacles import Reason
from ooMtrace.probe import bcc, bcc_search
from ooMtrace.probe.captured_output import captured_output, read_output


def break_import(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(name: str, *arguments: object, **options: object) -> object:
        if name == "bcc":
            raise error
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    real = builtins.__import__
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)


def test_the_version_is_that_of_the_module(fake_bcc):
    assert (bcc.bcc_version(), bcc.bcc_problem()) == ("0.26.0", None)


def test_a_missing_module_is_reported_with_what_to_do(monkeypatch):
    break_import(monkeypatch, ModuleNotFoundError("No module named 'bcc'", name="bcc"))
    monkeypatch.setattr(bcc_search, "missing", lambda: Reason("a fact", "a hint"))

    assert bcc.bcc_problem() == ("a fact", "a hint")
    with pytest.raises(CannotTraceError) as caught:
        bcc.bcc_version()
    assert (caught.value.fact, caught.value.hint) == ("a fact", "a hint")


@pytest.mark.parametrize("error", [OSError("libbcc.so.0: not found"), ModuleNotFoundError("x", name="netaddr")])
def test_bcc_that_cannot_be_loaded_is_to_be_installed_again(monkeypatch, tmp_path, error):
    break_import(monkeypatch, error)
    (tmp_path / "libbcc.py").touch()
    monkeypatch.setattr(bcc, "find_spec", lambda _: SimpleNamespace(origin=str(tmp_path / "__init__.py")))

    problem = bcc.bcc_problem()

    assert problem == (f"BCC cannot be loaded ({error})", f"install it again: {bcc_search.install_command()}")


@pytest.mark.parametrize("error", [ModuleNotFoundError("x", name="x"), SyntaxError("print"), AttributeError("x")])
def test_another_project_that_cannot_even_be_imported_is_recognized(monkeypatch, tmp_path, error):
    break_import(monkeypatch, error)
    monkeypatch.setattr(bcc, "find_spec", lambda _: SimpleNamespace(origin=str(tmp_path / "bcc.py")))

    assert bcc.bcc_problem() == (f"{tmp_path}/bcc.py is not BCC, and hides it", f"remove or rename {tmp_path}/bcc.py")


def test_another_module_named_bcc_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "bcc", SimpleNamespace(__file__="/x/bcc.py"))

    assert bcc.bcc_problem() == ("/x/bcc.py is not BCC, and hides it", "remove or rename /x/bcc.py")


def test_an_empty_directory_of_that_name_is_no_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "bcc", SimpleNamespace(__file__=None))
    monkeypatch.setattr(bcc_search, "missing", lambda: Reason("a fact", "a hint"))

    assert bcc.bcc_problem() == ("a fact", "a hint")


def test_the_environment_is_restored(monkeypatch):
    monkeypatch.setenv("ARCH", "arm64")
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)

    with suppress(RuntimeError), bcc.environment(ARCH=None, BCC_KERNEL_SOURCE="/tree"):
        assert "ARCH" not in os.environ
        assert os.environ["BCC_KERNEL_SOURCE"] == "/tree"
        raise RuntimeError

    assert os.environ["ARCH"] == "arm64"
    assert "BCC_KERNEL_SOURCE" not in os.environ


def test_output_from_c_is_captured_and_stdout_and_stderr_are_restored(capfd):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with captured_output() as log:
        os.write(1, b"verifier \xff\n")
        os.write(2, b"compiler\n")
        text = read_output(log)
    os.write(1, b"line\n")

    assert text == "verifier \\xff\ncompiler\n"
    assert capfd.readouterr() == ("line\n", "")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_output_that_cannot_be_read_is_empty():
    assert read_output(-1) == ""


def test_syntax_warnings_of_bcc_are_not_shown_and_others_still_are(monkeypatch, tmp_path):
    def warn(name: str, *arguments: object, **options: object) -> object:
        if name == "bcc":
            warnings.warn_explicit("invalid escape sequence", SyntaxWarning, "bcc/__init__.py", 1)
            warnings.warn_explicit("old", FutureWarning, "bcc/__init__.py", 2)
            return SimpleNamespace(BPF=1)
        return real(name, *arguments, **options)  # type: ignore[arg-type]

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", warn)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        bcc.import_bcc()
        warnings.warn("ours", SyntaxWarning, stacklevel=1)

    assert [str(one.message) for one in shown] == ["old", "ours"]
