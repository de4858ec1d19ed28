"""Published checkpoints: recognise their layout, rename their tensors, build the network."""
