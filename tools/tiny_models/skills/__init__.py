"""One module per skill: what is trained, what is held out, which suite asks for it."""
