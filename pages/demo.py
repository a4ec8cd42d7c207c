"""The live demo inside the explorer."""

import streamlit as st

from rd4ad.web.explorer import frame
from rd4ad.web.explorer.components import live_frame
from rd4ad.web.live import address

frame.open_page(
    "Live",
    "Your own image as a heatmap: upload it, take it with a camera, or start from an example.",
)
address = address.find()
if address is None:
    st.info("`rd4ad serve` opens the explorer and this demo at once; the explorer alone runs here.")
    st.code("rd4ad serve", language="bash", wrap_lines=True)
else:
    live_frame.show(address)
    st.caption(
        "Also by itself at /live/. Uploads are held in memory and in a folder of this server that "
        "is emptied within the hour."
    )
