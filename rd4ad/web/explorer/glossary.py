"""Terms of the field in a few sentences each, with a drawing: what a word on a page opens."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from rd4ad.web.explorer import drawings


@dataclass(frozen=True)
class Term:
    """A term: its name, and what it means, in Markdown."""

    name: str
    meaning: str


TERMS = {
    "auroc": Term(
        "AUROC",
        "Area under the receiver operating characteristic: the probability that a defective "
        "example scores higher than a normal one, ties counted half. 100% is perfect order, 50% "
        "is chance.\n\n"
        "**Image AUROC** ranks whole images by their score: does the detector find defective "
        "parts?\n\n"
        "**Pixel AUROC** ranks all pixels of a category's test images by the anomaly map: does it "
        "mark the right place? Normal pixels are the vast majority, so it is high for every method "
        "and large defects weigh more than small ones.\n\n"
        "No threshold is involved, and none is chosen. AUROC says nothing of where a threshold "
        "should lie: see *calibration*.",
    ),
    "pro": Term(
        "PRO and AUPRO",
        "Per-region overlap: at a threshold, the share of each defect region that is marked, "
        "averaged over regions. A small scratch counts as much as a large stain.\n\n"
        "**AUPRO** is the area under PRO over the false-positive rate of normal pixels, up to a "
        "limit (mostly 0.3), divided by the limit.\n\n"
        "Programs differ in three things: the limit, whether regions are pooled over the category "
        "or averaged within each image, and how many thresholds are used. The same maps can differ "
        "by more than ten points, so every value here names its definition. The column *MVTec at "
        "0.3* is the evaluation code of MVTec AD; *released code* is what RD4AD's repository "
        "computes.\n\n"
        "Compare values of one definition only.",
    ),
    "f1": Term(
        "F1-max",
        "F1 is the harmonic mean of precision (which share of the alarms is right) and recall "
        "(which share of the defects is found). It depends on the threshold.\n\n"
        "**F1-max** is its highest value over all thresholds. The threshold is chosen on the very "
        "images that are measured, so the value flatters: no detector reaches it in use, except by "
        "luck.\n\n"
        "It depends on how many defective images a test set holds, so values of different "
        "categories do not compare. A detector that calls everything defective already reaches "
        "2p / (1 + p) where p is the share of defective images.\n\n"
        "**AP**, average precision, is the area under precision over recall and shares that "
        "dependence.",
    ),
    "layers": Term(
        "Layers",
        "The teacher describes an image by three feature maps. **Layer 1** is fine and shallow: "
        "edges and texture, one position for every 4 pixels, each of which sees a small "
        "neighborhood. **Layer 3** is coarse and deep: parts and their arrangement, one position "
        "for every 16 pixels, each of which sees a large neighborhood. **Layer 2** lies between."
        "\n\n"
        "Each layer gives a *distance map*: 1 minus the cosine similarity of teacher and student "
        "at each position, from 0 (equal) to 2.\n\n"
        "Shallow layers find scratches and stains. Only deep ones notice that something is "
        "missing, which is why transistor does better with layer 3 alone.",
    ),
    "fusion": Term(
        "Fusion and smoothing",
        "The distance maps of the layers are enlarged to the image's size and fused into one "
        "*anomaly map*: **sum** adds them (released code), **product** multiplies them, which "
        "keeps only what all layers agree on.\n\n"
        "**Smoothing** then averages each pixel with its neighbors by a Gaussian; its width is in "
        "pixels (released code: 4). It suppresses noise and, if wide, small defects too. At half "
        "the image size, 4 px are twice as wide a share of the image.\n\n"
        "The **score** of an image is the highest value of its smoothed map. It depends on this "
        "image alone, never on others of the test set.",
    ),
    "calibration": Term(
        "Calibration and threshold",
        "A score is no probability: what counts as high depends on the detector. A threshold "
        "turns it into a decision.\n\n"
        "Here it comes from **held-out normal images**: good parts that training never saw. Their "
        "scores show how high a normal part may score; the threshold is a high quantile of them "
        "(99% unless said otherwise).\n\n"
        "With few held-out images the true rate of false alarms is uncertain, and the pages say "
        "within what limits. A threshold that is chosen on test images with known defects "
        "flatters: it is fine for looking, not for use.\n\n"
        "Images that look like no part that the detector knows have no meaningful score.",
    ),
}


def show_terms(names: Sequence[str]) -> None:
    """Show the terms of a page as words to click; each opens its meaning and a drawing."""
    with st.container(horizontal=True, key="terms", gap="small", vertical_alignment="center"):
        st.caption("Terms", width="content")
        for name in names:
            if st.button(TERMS[name].name, type="tertiary", key=f"term-{name}"):
                _open(name)


@st.dialog("Glossary", width="large")
def _open(name: str) -> None:
    term = TERMS[name]
    st.subheader(term.name)
    st.plotly_chart(drawings.DRAWINGS[name](), width="stretch", key=f"drawing-of-{name}",
                    alt=f"Drawing: {term.name}", config={"staticPlot": True})  # fmt: skip
    st.markdown(term.meaning)
