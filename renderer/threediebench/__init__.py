"""3DIEBench as its authors published it (facebookresearch/SIE), and how it becomes a dataset of ours.

DIR/SYNSET/OBJECT/image_{i}.jpg    a render
DIR/SYNSET/OBJECT/latent_{i}.npy   7 float64: rotation about x, y and z, floor hue, spot theta, spot phi, spot hue
train_images.npy, val_images.npy   in their code repository: the objects of each split, as "/SYNSET/OBJECT"

files.py     reads these files, and trusts none
labels.py    what the numbers mean, and what is wrong with the hues
layout.py    which image becomes which sample of which shard
convert.py   does it
"""
