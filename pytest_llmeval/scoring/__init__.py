"""What an answer is worth: one judgement per scorer, with the way that led to it.

A scorer reads an answer in stages (see `extraction`) and gives a `Score`. It never touches a file,
a clock or a model, and it never mistakes what it cannot judge for a wrong answer. All but one work
in the process that asks them; `math` has one of its own, because its library may hang.
"""
