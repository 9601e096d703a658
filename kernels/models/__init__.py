"""The models that gradients, Transformer steps and the train loop run: their sizes as formulas, and plain PyTorch modules."""
