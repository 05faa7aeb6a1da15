"""Training, checkpoints and weights files."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from avatar_training import export
from avatar_training.config import ConfigError, ModelConfig
from avatar_training.data import open_dataset
from avatar_training.head_model import HeadModel
from avatar_training.network import GPAvatar, kernels, style_unet
from avatar_training.recipe import RECIPES
from avatar_training.train import Job, Trainer, run


def job(config, dataset, out, **changes) -> Job:
    recipe = RECIPES["procedural"].changed(
        pretrain=0.3, half_resolution=0.6, surface_points=64, empty_points=32, warm_up=2
    )
    values = {
        "config": config,
        "recipe": recipe,
        "dataset": str(dataset),
        "out": out,
        "steps": 20,
        "minutes": None,
        "seed": 3,
        "workers": 1,
        "device": "cpu",
        "precision": "f32",
        "held_out": 1,
        "preview_minutes": 100,
        "save_minutes": 100,
        "start": None,
        "perception": None,
        "resume": False,
    }
    return Job(**{**values, **changes})


def test_losses_decrease_and_the_weights_file_is_whole(small, dataset, tmp_path):
    out = tmp_path / "run"
    recipe = RECIPES["procedural"].changed(
        pretrain=0.0, half_resolution=0.0, surface_points=64, empty_points=32, warm_up=2
    )
    trainer_job = job(small, dataset, out, recipe=recipe, precision="bf16")
    batch = Trainer(trainer_job, 0, None)._draw(4, 0.5)
    torch.manual_seed(0)
    before = Trainer(trainer_job, 0, None).loss(batch, 0.5)[0].item()
    run(trainer_job)
    path = out / "weights.safetensors"
    after_job = dataclasses.replace(trainer_job, out=tmp_path, start=str(path))
    torch.manual_seed(0)
    after = Trainer(after_job, 0, None).loss(batch, 0.5)[0].item()
    assert after < 0.9 * before
    assert export.read_config(path) == small
    assert len(HeadModel.open(path).template) == small.points
    assert list((out / "previews").glob("*.png"))


def test_the_released_recipe_trains(small, dataset, tmp_path):
    result = run(job(small, dataset, tmp_path / "run", recipe=RECIPES["released"], steps=2))
    assert result["face_box"] > 0 and result["perceptual"] > 0


def test_resuming_repeats_what_an_unbroken_training_does(small, dataset, tmp_path):
    whole = job(small, dataset, tmp_path / "whole", steps=6)
    run(whole)
    expected = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)

    broken = job(small, dataset, tmp_path / "broken", steps=6)
    broken.out.mkdir()
    trainer = Trainer(broken, 0, None)
    loop, count = trainer._average, []

    def stop():
        loop()
        count.append(None)
        if len(count) == 3:
            trainer._save()
            raise KeyboardInterrupt

    trainer._average = stop
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    run(dataclasses.replace(broken, resume=True))
    found = torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)
    assert found["step"] == expected["step"] == 6
    for name, value in expected["parts"].items():
        assert torch.equal(found["parts"][name], value), name


def test_two_processes_train(small, dataset, tmp_path):
    run(job(small, dataset, tmp_path / "run", workers=2, steps=3))
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_a_weights_file_of_another_model_is_refused(small, tmp_path):
    path = tmp_path / "weights.safetensors"
    export.write_weights(path, small, GPAvatar(small).state_dict(), None, {})
    other = dataclasses.replace(small, feature_hidden=24)
    with pytest.raises(export.WeightsError, match="feature_layers.0.weight"):
        export.read_weights(path, other)


def test_a_configuration_lists_all_its_problems():
    with pytest.raises(ConfigError) as error:
        ModelConfig.from_json(json.dumps({"plane_size": 100, "neighbours": 9}))
    assert any(p.startswith("plane_size") for p in error.value.problems)
    assert any(p.startswith("neighbours") for p in error.value.problems)
    with pytest.raises(ConfigError, match="neighbors"):
        ModelConfig.from_json('{"neighbors": 8}')


def test_the_convolution_has_the_gradients_of_pytorch(monkeypatch):
    block = style_unet.ResBlock(4, 8, up=True)
    x = torch.randn(2, 4, 8, 8, requires_grad=True)

    def gradients():
        return torch.autograd.grad(block(x).square().sum(), [x, *block.parameters()])

    own = gradients()

    def plain(x, weight, bias=None):
        return torch.nn.functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)

    monkeypatch.setattr(style_unet, "conv2d", plain)
    for a, b in zip(own, gradients()):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_nearest_points_are_exact():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2, 100, 3)).astype(np.float32)
    x = rng.normal(size=(2, 700, 3)).astype(np.float32)
    index, distance = kernels.nearest(x, points, 5, kernels.leaf_order(points[0]))
    for b in range(2):
        every = ((x[b, :, None] - points[b]) ** 2).sum(-1)
        expected = np.sort(every, 1)[:, :5]
        assert np.allclose(distance[b], expected, rtol=1e-5)
        assert np.allclose(np.take_along_axis(every, index[b].astype(int), 1), expected, rtol=1e-5)


def test_the_field_kernels_have_the_gradients_of_pytorch(small):
    from avatar_training.network import points as module

    torch.manual_seed(0)
    planes = torch.randn(2, 3, 8, 8, 4, requires_grad=True)
    x = torch.rand(2, 50, 3) * 2.4 - 1.2
    uv = torch.stack([x[..., [0, 1]], x[..., [0, 2]], x[..., [2, 1]]], 1).flatten(0, 1)[:, None]
    flat = planes.flatten(0, 1).permute(0, 3, 1, 2)
    expected = torch.nn.functional.grid_sample(flat, uv, padding_mode="zeros", align_corners=False)
    expected = expected.reshape(2, 3, 4, -1).mean(1).transpose(1, 2)
    found = module.sample_planes(planes, x)
    assert torch.allclose(found, expected, atol=1e-5)
    weight = torch.randn_like(found)
    own = torch.autograd.grad((found * weight).sum(), planes)[0]
    assert torch.allclose(own, torch.autograd.grad((expected * weight).sum(), planes)[0], atol=1e-5)

    heads = torch.randn(2, 30, 3)
    index = torch.randint(30, (2, 50, 4), dtype=torch.int32)
    share = torch.rand(2, 50, 4)
    table = torch.randn(30, 16, requires_grad=True)
    weights = torch.randn(27, 16, requires_grad=True)
    batch = torch.arange(2)[:, None, None]
    direction = torch.nn.functional.normalize(x[:, :, None] - heads[batch, index.long()], dim=-1)
    h = torch.relu(table[index.long()] + module.harmonic(direction) @ weights)
    expected = (h * share[..., None]).sum(2)
    found = module._PointFeatures.apply(x, heads, index, share, table, weights)
    assert torch.allclose(found, expected, atol=1e-4)
    seed = torch.randn_like(found)
    own = torch.autograd.grad((found * seed).sum(), (table, weights))
    for a, b in zip(own, torch.autograd.grad((expected * seed).sum(), (table, weights))):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)


def test_sources_of_a_batch(small, dataset):
    data = open_dataset(dataset, small)
    batch = data.draw(np.random.default_rng(0), [1, 3], 16)
    assert batch.present.tolist() == [[True, False, False], [True, True, True]]
    assert batch.sources.shape == (2, 3, 3, small.source_size, small.source_size)
    assert batch.surface.shape == (2, 16, 6)
