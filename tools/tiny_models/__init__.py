"""Two very small llama-architecture models and the demo suites that ask them."""
