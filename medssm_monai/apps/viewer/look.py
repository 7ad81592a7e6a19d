"""How the page looks: fonts of the computer, no files from elsewhere."""

from __future__ import annotations

import gradio as gr

__all__ = ["CSS", "theme"]

FONT = ("system-ui", "Segoe UI", "Roboto", "Helvetica", "Arial", "sans-serif")
MONO = ("ui-monospace", "Consolas", "Menlo", "monospace")
CSS = """
.gradio-container { max-width: 1440px !important; margin: 0 auto !important; }
.medssm-head { display: flex; flex-wrap: wrap; gap: 4px 20px; align-items: baseline; padding: 4px 2px; }
.medssm-head h1 { font-size: 22px; margin: 0; font-weight: 650; }
.medssm-head .medssm-warn { font-weight: 600; color: var(--body-text-color); background: #ffd40040;
  border: 1px solid #c79f00; border-radius: 6px; padding: 2px 10px; font-size: 14px; }
.medssm-foot { font-size: 13px; color: var(--body-text-color-subdued); padding: 4px 2px; line-height: 1.5; }
.medssm-box { border-radius: 8px; padding: 10px 14px; font-size: 14px; line-height: 1.45; margin: 0 0 8px 0;
  border: 1px solid var(--border-color-primary); overflow-wrap: anywhere; }
.medssm-box ul { margin: 4px 0 0 0; padding-left: 20px; list-style: disc; }
.medssm-problem { background: #d8323218; border-color: #d83232; }
.medssm-warning { background: #ffd40030; border-color: #c79f00; }
.medssm-note { background: var(--background-fill-secondary); }
.medssm-facts { width: 100%; border-collapse: collapse; font-size: 14px; margin: 0 0 8px 0; }
.medssm-facts th { text-align: left; font-weight: 600; width: 150px; vertical-align: top; padding: 5px 10px 5px 2px; }
.medssm-facts td { vertical-align: top; padding: 5px 2px; overflow-wrap: anywhere; }
.medssm-facts, .medssm-facts th, .medssm-facts td, .medssm-facts tr { border: none !important;
  background: none !important; }
.medssm-facts tr { border-bottom: 1px solid var(--border-color-primary) !important; }
.medssm-bars { display: flex; flex-direction: column; gap: 6px; padding: 6px 2px; }
.medssm-bar { display: grid; grid-template-columns: minmax(110px, 28%) 1fr 76px; gap: 10px; align-items: center;
  font-size: 14px; }
.medssm-name { overflow-wrap: anywhere; }
.medssm-track { background: var(--background-fill-secondary); border-radius: 5px; height: 16px; overflow: hidden;
  border: 1px solid var(--border-color-primary); }
.medssm-fill { display: block; height: 100%; background: #6b7a90; }
.medssm-most .medssm-fill { background: #1f6feb; }
.medssm-most { font-weight: 650; }
.medssm-value { text-align: right; font-variant-numeric: tabular-nums; }
.medssm-legend { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; font-size: 13px; padding: 2px; }
.medssm-swatch { width: 16px; height: 16px; border-radius: 3px; border: 1px solid #0006; }
.medssm-ramp { width: 160px; height: 14px; border-radius: 3px; }
.medssm-choice label { padding: 5px 6px !important; font-size: 13px; }
.medssm-choice input:checked { background-color: var(--checkbox-background-color-selected) !important; }
.medssm-choice .wrap { gap: 6px !important; }
.medssm-downloads td:last-child button { display: none; }
.medssm-class { font-size: 18px; font-weight: 650; padding: 2px; }
"""


def theme() -> gr.themes.Base:
    """A plain theme; fonts that are named by texts are those of the computer."""
    return gr.themes.Base(primary_hue="blue", neutral_hue="slate", font=list(FONT), font_mono=list(MONO))
