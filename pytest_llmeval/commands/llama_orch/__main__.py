"""`python -m pytest_llmeval.commands.llama_orch`."""

from pytest_llmeval.commands.llama_orch.app import main

if __name__ == "__main__":
    main()
