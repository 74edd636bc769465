from __future__ import annotations

import pytest

from reeldex.flows.runs.form_words import in_form_words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Or use random weights: --weights random.", 'Or use random weights: "Weights" (extract.weights): random.'),
        ("Use --precision fp32 or auto.", 'Use "Precision" (compute.precision): fp32 or auto.'),
        (
            "Set decode.video_track (--video-track) to one of these.",
            'Set decode.video_track ("Video track") to one of these.',
        ),
        ("leave out the option (--failed-videos).", 'leave out the option ("Retry failed videos").'),
        ("with --include '*.ENDING'.", "with \"Include only\" (extract.include): '*.ENDING'."),
        ("press Retry, or run `reeldex rerun /a b`.", "press Retry, or run the deployment `rerun-failed`."),
        (
            "`reeldex rerun /s --failed-videos` tries it again.",
            'the deployment `rerun-failed` with "Retry failed videos" tries it again.',
        ),
        ("`reeldex extract S --store /s` creates one.", "the deployment `extract` creates one."),
        ("`reeldex status /s --failures` shows all.", "`reeldex status /s --failures` shows all."),
        ("ffmpeg --enable-gpl /v/a --weights.mp4 b--weights", "ffmpeg --enable-gpl /v/a --weights.mp4 b--weights"),
        ("-- weights", "-- weights"),
    ],
)
def test_advice_names_fields_and_deployments(said: str, expected: str) -> None:
    assert in_form_words(said) == expected
    assert in_form_words(expected) == expected
