"""Which trials there are, and how every slot is kept busy with them."""
