"""scripts/rl.py at a terminal: a run ends with a table, a figure, a file, a film; bad input is one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.lab.errors import VhatError
from tests.script_modules import script_module

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "rl.py"


@pytest.fixture(scope="module")
def script():
    return script_module(SCRIPT)


def small(script, tmp_path, **settings):
    usual = {"seeds": 3, "updates": 3, "episodes": 2, "hidden": (4,), "horizon": 15, "out": tmp_path}
    return script.Args(**{**usual, **settings})


def test_a_run_ends_with_a_table_a_curve_policies_and_a_film(script, tmp_path, capsys):
    saved, shown = tmp_path / "policies.npz", tmp_path / "film.gif"
    script.main(small(script, tmp_path, save=saved, film=shown))
    out = capsys.readouterr().out
    assert "adam, lr 0.02, baseline loo" in out
    with Image.open(tmp_path / "CartPole-v1-adam-loo.png") as picture:
        assert picture.size[0] > 300
    with Image.open(shown) as found:
        assert found.n_frames > 5
    script.main(script.Args(load=saved))
    assert "3 policies" in capsys.readouterr().out


def test_optimizers_and_baselines_are_compared_pair_by_pair(script, tmp_path, capsys):
    pairs = small(
        script,
        tmp_path,
        env="Pendulum-v1",
        compare=("adam", "sgd:0.001"),
        baselines=("none", "mean"),
        discount=0.9,
        drop_discount=True,
    )
    script.main(pairs)
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if ", baseline " in line]
    assert len(rows) == 4
    assert "own return is in its baseline" in out
    assert "gamma^t is dropped" in out
    assert (tmp_path / "Pendulum-v1-adam-sgd-none-mean.png").exists()


def test_a_comparison_gives_each_pair_the_curve_that_it_has_alone(script, tmp_path):
    together = script.train_all(small(script, tmp_path, compare=("adam:0.05", "sgd:0.01")), script.Tally())
    alone = script.train_all(small(script, tmp_path, optimizer="sgd", lr=0.01), script.Tally())
    assert [one.optimizer for one in together] == ["adam", "sgd"]
    np.testing.assert_array_equal(together[1].run.params, alone[0].run.params)
    np.testing.assert_array_equal(together[1].run.curves["return"], alone[0].run.curves["return"])


def test_a_rule_without_a_rate_takes_one_that_suits_it_or_the_common_one_and_says_so(script, tmp_path):
    own = small(script, tmp_path, compare=("adam", "sgd", "momentum:0.01"))
    assert script.optimizers(own) == [("adam", 0.02), ("sgd", 0.001), ("momentum", 0.01)]
    assert "CartPole-v1" in script.about_rates(own)
    common = small(script, tmp_path, compare=("adam", "sgd"), lr=0.02)
    assert script.optimizers(common) == [("adam", 0.02), ("sgd", 0.02)]
    assert "at lr 0.02" in script.about_rates(common)
    assert script.about_rates(small(script, tmp_path, compare=("adam:0.02", "sgd:0.001"))) == ""
    assert script.about_rates(small(script, tmp_path, lr=0.02)) == ""
    assert set(script.USUAL_RATES) <= set(script.RULES)


def test_steps_in_episodes_are_told_from_steps_taken(script, tmp_path, capsys):
    script.main(small(script, tmp_path, env="Pendulum-v1"))
    # Pendulum never ends before its time limit, so that no step is in vain.
    assert "270 in episodes, 270 taken (100% useful)" in " ".join(capsys.readouterr().out.split())
    tally = script.Tally()
    script.train_all(small(script, tmp_path, horizon=None), tally)
    assert 0 < tally.inside < tally.stepped


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"env": "CartPol"}, "did you mean"),
        ({"optimizer": "adamm"}, "did you mean"),
        ({"baseline": "lo"}, "did you mean"),
        ({"compare": ("adam:x",)}, "as in adam:0.02"),
        ({"compare": ("adam", "adam")}, "give it once"),
        ({"compare": ("adam", "sgd"), "save": Path("x")}, "one optimizer"),
        ({"film": Path("film.mp4")}, r"\.gif"),
        ({"lr": -1.0}, "lr"),
        ({"seeds": 1}, "at least 2"),
        ({"hidden": (0,)}, "sizes"),
        ({"horizon": 0}, "at least 1"),
        ({"episodes": 1}, "at least 2 episodes"),
        ({"discount": 2.0}, "discount"),
        ({"device": "nowhere"}, "cannot be used"),
        ({"load": Path("nothing.npz")}, "cannot read"),
    ],
)
def test_bad_input_is_one_line(script, tmp_path, settings, words):
    with pytest.raises(VhatError, match=words) as caught:
        script.main(small(script, tmp_path, **settings))
    assert "\n" not in str(caught.value)
