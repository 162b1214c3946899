"""Features of a frozen backbone: computed once, kept, and read by every run that needs the same ones.

What the trunk of the network makes of a clip does not change while it is frozen. `fill` computes it for every clip that
training, validation and testing may ask for, `store` keeps it (a file for each video), `data` makes batches of it in
the place of clips, and `export` writes it for other programs.
"""
