"""RCDM (Bordes et al., 2022): a diffusion model conditioned on what one layer makes of an image, to see what it keeps
(section 5 and Figure 7 of the paper). U-Net, noise schedules, samplers and averages of weights are diffusers'."""
