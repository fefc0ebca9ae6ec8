"""Why llama-cpp-python cannot be loaded, in words that say what to install."""

from __future__ import annotations

import pytest

from pytest_llmeval.servers.llama_cpp_loading import explain_import

IN_LINUX = "Failed to load shared library '/opt/cuda-user/llama_cpp/lib/libllama.so': "
NOT_THERE = ": cannot open shared object file: No such file or directory"
IN_WINDOWS = r"Failed to load shared library 'C:\py\llama_cpp\lib\llama.dll': "


@pytest.mark.parametrize(
    ("problem", "missing", "advice"),
    [
        (f"{IN_LINUX}libcudart.so.12{NOT_THERE}", "libcudart.so.12", "install the CUDA runtime"),
        (f"{IN_LINUX}libcublas.so.12{NOT_THERE}", "libcublas.so.12", "install the CUDA runtime"),
        (f"{IN_LINUX}libgomp.so.1{NOT_THERE}", "libgomp.so.1", "apt-get install libgomp1"),
        (f"{IN_LINUX}libvulkan.so.1{NOT_THERE}", "libvulkan.so.1", "libvulkan1"),
        (f"{IN_LINUX}libamdhip64.so.6{NOT_THERE}", "libamdhip64.so.6", "install ROCm"),
        (
            f"{IN_LINUX}/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found",
            "libstdc++.so.6",
            "built for a newer system",
        ),
        (f"{IN_WINDOWS}Could not find module 'cudart64_12.dll'", "cudart64_12.dll", "CUDA runtime"),
    ],
)
def test_the_missing_library_is_named_with_what_to_install(
    problem: str, missing: str, advice: str
) -> None:
    words = explain_import(problem)
    assert f"what is missing is {missing}: " in words
    assert advice in words
    assert problem in words


def test_a_dll_that_misses_another_asks_for_the_runtimes_it_may_miss() -> None:
    module = r"'C:\py\llama_cpp\lib\llama.dll'"
    words = explain_import(f"Could not find module {module} (or one of its dependencies).")
    assert "Microsoft Visual C++ Redistributable" in words
    assert "CUDA Toolkit" in words
    assert "what is missing" not in words


def test_where_the_library_lies_is_not_what_is_wrong_with_it() -> None:
    words = explain_import("Failed to load shared library '/opt/cuda/libllama.so': invalid header")
    assert "CUDA" not in words
    assert "reinstall it: pip install --force-reinstall --no-cache-dir llama-cpp-python" in words


@pytest.mark.parametrize("module", ["diskcache", "diskcache.core"])
def test_a_module_that_it_imports_is_installed_by_itself(module: str) -> None:
    words = explain_import(f"No module named '{module}'")
    assert words == (
        f"llama-cpp-python cannot be loaded (No module named '{module}'): pip install diskcache"
    )


def test_a_module_of_its_own_that_is_missing_is_had_by_installing_it_anew() -> None:
    words = explain_import("No module named 'llama_cpp._ggml'")
    assert "reinstall it: pip install --force-reinstall" in words
