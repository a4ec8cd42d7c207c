"""What methods there are: one line each, without torch. Everything else asks this table."""

from dataclasses import dataclass

BACKBONE_NAMES = ("resnet18", "resnet34", "resnet50", "wide_resnet50_2", "compact", "distilled")
NO_BACKBONE = "none"
DEFAULT_METHOD = "reverse_distillation"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A method as the tables, the command line and the configuration know it.

    Args:
        title: its name in the paper's tables and on every page.
        home: module and class, "rd4ad.methods.x:X"; imported only to fit, load or predict.
        source: the paper it follows.
        layers: its layers by default, 1 the finest; a layer gives a distance map.
        has_one_map: its layers are fused inside: one map, which counts as that of the finest.
        backbones: frozen teachers it can use, the default first; `NO_BACKBONE` for none.
        epochs, batch_size, learning_rate: defaults; no epochs where it is fitted in one pass.
        sigma_px: its paper's smoothing of the anomaly map, in pixels.
        score: how its paper scores an image; see `rd4ad.scoring.Scoring`.
    """

    title: str
    home: str
    source: str
    layers: tuple[int, ...] = (1, 2, 3)
    has_one_map: bool = False
    backbones: tuple[str, ...] = BACKBONE_NAMES
    epochs: int = 0
    batch_size: int = 16
    learning_rate: float = 0.0
    sigma_px: float = 4.0
    score: str = "max"

    def map_layers(self, layers: tuple[int, ...]) -> tuple[int, ...]:
        """Return the layers whose distance maps a method with these layers gives.

        >>> METHODS["padim"].map_layers((1, 2, 3)), METHODS["spade"].map_layers((2, 3))
        ((1,), (2, 3))
        """
        return layers[:1] if self.has_one_map else layers


METHODS = {
    "reverse_distillation": Entry(
        title="RD4AD", home="rd4ad.methods.reverse_distillation:ReverseDistillation",
        source="Deng & Li, CVPR 2022", epochs=200, learning_rate=0.005,  # hq-deng/RD4AD main.py
    ),
    "riad": Entry(
        title="RIAD", home="rd4ad.methods.riad:Riad",
        source="Zavrtanik et al., Pattern Recognition 2021",
        layers=(1,), has_one_map=True, backbones=(NO_BACKBONE,),
        epochs=300, batch_size=4, learning_rate=1e-4, sigma_px=0.0,
    ),
    "cutpaste": Entry(
        title="CutPaste", home="rd4ad.methods.cutpaste:CutPaste",
        source="Li et al., CVPR 2021",
        layers=(3,), has_one_map=True, epochs=256, batch_size=32, learning_rate=0.003,
        sigma_px=0.0, score="image",
    ),
    "metaformer": Entry(
        title="MF", home="rd4ad.methods.metaformer:Metaformer",
        source="Wu et al., ICCV 2021",
        layers=(3,), has_one_map=True, epochs=100, batch_size=8, learning_rate=0.001,
    ),
    "mkd": Entry(
        title="MKD", home="rd4ad.methods.mkd:MultiresolutionDistillation",
        source="Salehi et al., CVPR 2021", epochs=601, batch_size=64,  # section 3.2, config.yaml
        learning_rate=0.001, score="image",
    ),
    "uninformed_students": Entry(
        title="US", home="rd4ad.methods.uninformed_students:UninformedStudents",
        source="Bergmann et al., CVPR 2020", epochs=100, batch_size=2,  # 1 in the paper
        learning_rate=0.0001, sigma_px=0.0,
    ),
    "padim": Entry(
        title="PaDiM", home="rd4ad.methods.padim:Padim",
        source="Defard et al., ICPR Workshops 2021", has_one_map=True,
    ),
    "patchcore": Entry(
        title="PatchCore-10%", home="rd4ad.methods.patchcore:PatchCore",
        source="Roth et al., CVPR 2022",
        layers=(2, 3), has_one_map=True, score="image",
    ),
    "patchcore_1": Entry(
        title="PatchCore-1%", home="rd4ad.methods.patchcore:PatchCore1",
        source="Roth et al., CVPR 2022",
        layers=(2, 3), has_one_map=True, score="image",
    ),
    "spade": Entry(
        title="SPADE", home="rd4ad.methods.spade:Spade",
        source="Cohen & Hoshen, arXiv 2020", score="image",
    ),
}  # fmt: skip
"""By the name that configurations, checkpoints and runs store."""


def entry_of(method: str) -> Entry:
    """Return a method's entry.

    >>> entry_of("reverse_distillation").title
    'RD4AD'

    Raises:
        ValueError: no such method; the message lists those there are.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    return METHODS[method]


def title_of(method: str) -> str:
    """Return a method's name as the pages show it; an unknown one as it is.

    >>> title_of("reverse_distillation"), title_of("something_new")
    ('RD4AD', 'something_new')
    """
    return METHODS[method].title if method in METHODS else method
