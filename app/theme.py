"""The page's colours, in light and dark: paper, ink and one green. All fonts are the visitor's own."""

from __future__ import annotations

import gradio as gr

INK = gr.themes.Color(
    name="ink",
    c50="#f7f6f2", c100="#efede7", c200="#e2dfd6", c300="#cbc8bd", c400="#98a39d", c500="#66716b",
    c600="#4d5752", c700="#38413c", c800="#232a26", c900="#191e1b", c950="#121614",
)  # fmt: skip
GREEN = gr.themes.Color(
    name="green",
    c50="#eef6f1", c100="#d8ebe0", c200="#b3d7c3", c300="#86bda0", c400="#579f7c", c500="#2f7d5b",
    c600="#256a4c", c700="#1e563e", c800="#194532", c900="#143828", c950="#0a2017",
)  # fmt: skip

THEME = gr.themes.Base(
    primary_hue=GREEN,
    secondary_hue=GREEN,
    neutral_hue=INK,
    radius_size="lg",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    body_background_fill="*neutral_50",
    body_background_fill_dark="*neutral_950",
    block_background_fill="white",
    block_background_fill_dark="*neutral_900",
    block_border_color="*neutral_200",
    block_border_color_dark="*neutral_800",
    block_shadow="none",
    body_text_color_subdued="*neutral_500",
    body_text_color_subdued_dark="*neutral_400",
    block_label_background_fill="transparent",
    block_label_background_fill_dark="transparent",
    block_label_border_width="0px",
    block_label_border_width_dark="0px",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_500",
    button_primary_background_fill_hover_dark="*primary_600",
    button_primary_text_color="white",
    button_primary_text_color_dark="white",
)
