"""The embedded server, computing attention in 32 bits: what its launcher has no option for.

    python benchmarks/exact_embedded.py -m MODEL --port PORT ...

Takes the launcher's flags.
"""

from __future__ import annotations

import time

import xllamacpp

from pytest_llmeval.servers.embedded import build_parser


def main() -> None:
    """Serve until killed."""
    options = build_parser().parse_args()
    params = xllamacpp.CommonParams()
    params.model.path, params.port = options.model, options.port
    params.n_parallel, params.n_ctx = options.parallel, options.ctx_size
    params.cpuparams.n_threads = options.threads
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)
    while True:
        time.sleep(0.5)


if __name__ == "__main__":
    main()
