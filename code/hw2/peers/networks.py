"""The ViT and public ones that compute the same function, with the same weights.

The peers are the SimpleViT of ``vit-pytorch`` and the VisionTransformer of ``timm``,
which are imported where they are used. What else differs between them is taken out.
"""

import re
from collections.abc import Mapping

import torch
from torch import nn

from hw2.vit import Config, ViT
from hw2.vit.model import CLASSES, PIXEL_MEAN, PIXEL_STD, SIDE


def drawn(config: Config, seed: int) -> ViT:
    """The project's network with random weights, all of which bear on the logits.

    Only the biases that SimpleViT does not have are 0.
    """
    torch.manual_seed(seed)
    model = ViT(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
            if re.search(r"attention\.(qkv|out)\.bias", name):
                parameter.zero_()
    return model


# The modules of the project's ViT, and what each peer calls them.
SIMPLE_VIT = {
    r"positions": r"pos_embedding",
    r"embed": r"to_patch_embedding.2",
    r"blocks\.(\d+)\.norm1": r"transformer.layers.\1.0.norm",
    r"blocks\.(\d+)\.attention\.qkv": r"transformer.layers.\1.0.to_qkv",
    r"blocks\.(\d+)\.attention\.out": r"transformer.layers.\1.0.to_out",
    r"blocks\.(\d+)\.norm2": r"transformer.layers.\1.1.net.0",
    r"blocks\.(\d+)\.mlp\.0": r"transformer.layers.\1.1.net.1",
    r"blocks\.(\d+)\.mlp\.2": r"transformer.layers.\1.1.net.3",
    r"norm": r"transformer.norm",
    r"classify": r"linear_head",
}
TIMM = {
    r"positions": r"pos_embed",
    r"embed": r"patch_embed.proj",
    r"blocks\.(\d+)\.norm1": r"blocks.\1.norm1",
    r"blocks\.(\d+)\.attention\.qkv": r"blocks.\1.attn.qkv",
    r"blocks\.(\d+)\.attention\.out": r"blocks.\1.attn.proj",
    r"blocks\.(\d+)\.norm2": r"blocks.\1.norm2",
    r"blocks\.(\d+)\.mlp\.0": r"blocks.\1.mlp.fc1",
    r"blocks\.(\d+)\.mlp\.2": r"blocks.\1.mlp.fc2",
    r"norm": r"norm",
    r"classify": r"head",
}


def carry(model: ViT, network: nn.Module, names: Mapping[str, str]) -> nn.Module:
    """A peer, given the weights of the project's network.

    The pixels' mean and scale, which the peer does not know, go into the embedding.
    Raises ``KeyError`` for a weight without a name, ``RuntimeError`` for one that is
    missing, and ``ValueError`` for one that the peer has no place for and is not 0.
    """
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    weights["embed.weight"] /= PIXEL_STD
    weights["embed.bias"] -= PIXEL_MEAN * weights["embed.weight"].sum(1)
    theirs, found = network.state_dict(), {}
    for name, weight in weights.items():
        other = renamed(name, names)
        if other in theirs:
            found[other] = weight.reshape(theirs[other].shape)
        elif weight.any():
            raise ValueError(f"the peer has no {other} for {name}, expected zeros")
    network.load_state_dict(found)
    return network


def renamed(name: str, names: Mapping[str, str]) -> str:
    """A weight's name with its module's renamed; ``KeyError`` for an unknown one."""
    for ours, theirs in names.items():
        other, count = re.subn(rf"^{ours}(?=\.\w+$|$)", theirs, name)
        if count:
            return other
    raise KeyError(name)


def simple_vit(model: ViT, config: Config) -> nn.Module:
    """SimpleViT with the weights of ``model``, which ``config`` describes.

    Its sines and cosines become learned positions, and the normalisations before and
    after its embedding are left out.
    """
    from vit_pytorch.simple_vit import SimpleViT

    network = SimpleViT(
        image_size=SIDE,
        patch_size=config.patch,
        num_classes=CLASSES,
        dim=config.width,
        depth=config.layers,
        heads=config.heads,
        mlp_dim=config.mlp,
        channels=1,
        dim_head=config.width // config.heads,
    )
    network.pos_embedding = nn.Parameter(model.get_parameter("positions").detach())
    for part in (1, 3):
        network.to_patch_embedding[part] = nn.Identity()
    return carry(model, network, SIMPLE_VIT)


def timm_vit(model: ViT, config: Config) -> nn.Module:
    """timm's VisionTransformer with the weights of ``model``.

    It has no token of its own for the class, and normalises tokens before their mean.
    Attention is in its plain form, since the fused one, timm's default, takes several
    times as long on a CPU for a gradient in 16 bits.
    """
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(
        img_size=SIDE,
        patch_size=config.patch,
        in_chans=1,
        num_classes=CLASSES,
        global_pool="avg",
        embed_dim=config.width,
        depth=config.layers,
        num_heads=config.heads,
        mlp_ratio=config.mlp / config.width,
        class_token=False,
        fc_norm=False,
        norm_layer=nn.LayerNorm,  # for its epsilon
    )
    for block in network.blocks:
        block.attn.fused_attn = False
    return carry(model, network, TIMM)
