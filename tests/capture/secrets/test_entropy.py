"""Long random words are secrets outside code, and what training programs print is none."""

from __future__ import annotations

import base64
import hashlib
import random
import string
import uuid

import pytest

from mlsdk.capture.secrets.redaction import REDACTED, redact_text
from tests import canaries

NOISE = random.Random(7)


def noise(length: int, letters: str = canaries.LETTERS) -> str:
    """Letters of a made-up token."""
    return "".join(NOISE.choices(letters, k=length))


def test_random_tokens() -> None:
    """Nearly every long random token is seen."""
    makers = [
        lambda: noise(40),
        lambda: base64.b64encode(NOISE.randbytes(32)).decode(),
        lambda: base64.urlsafe_b64encode(NOISE.randbytes(32)).decode(),
        lambda: NOISE.randbytes(24).hex(),
        lambda: noise(36, string.ascii_lowercase + string.digits),
    ]
    for make in makers:
        found = sum(redact_text(f"value {make()} end")[0] == f"value {REDACTED} end" for _ in range(200))
        assert found > 170


@pytest.mark.parametrize(
    "text",
    [
        hashlib.sha1(b"").hexdigest(),
        hashlib.sha256(b"").hexdigest(),
        hashlib.sha512(b"").hexdigest(),
        hashlib.md5(b"").hexdigest(),
        "image@sha256:" + hashlib.sha256(b"").hexdigest(),
        "sha256-" + base64.b64encode(hashlib.sha256(b"").digest()).decode(),
        str(uuid.UUID(int=0x1234567890ABCDEF1234567890ABCDEF)),
        "run-2026-01-02T03-04-05-" + str(uuid.uuid5(uuid.NAMESPACE_DNS, "x")),
        "/home/user/Data1/aB3dE5fG7hJ9kL1mN3pQ5rS7tU9/x",
        "checkpoints/aB3dE5fG7hJ9kL1mN3pQ5rS7tU9",
        "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9.ckpt",
        "ResNet50V2_ImageNet1kV1Weights_Pretrained2",
        "RandomForestClassifierWithHundredEstimators100",
        "v1.2.3-14-g0123abc-dirty-2026-01-02-py311",
        "=" * 80,
        "-" * 80,
        "12345678901234567890123456789012345678901234567890",
        "meta-llama/Meta-Llama-3.1-8B-Instruct-Q4_K_M",
    ],
)
def test_not_random(text: str) -> None:
    """Digests, UUIDs, paths, names and rules are no secrets."""
    assert redact_text(f"value {text} end") == (f"value {text} end", ())


PICTURE = base64.b64encode(random.Random(5).randbytes(300)).decode()


@pytest.mark.parametrize(
    "line",
    [
        "Epoch 1/3:  45%|████▌     | 45/100 [00:10<00:12,  4.50it/s, loss=0.123, acc=0.98, lr=1e-4]",
        " 10%|█         | 1/10 [00:01<00:09,  1.00s/it, tokens/s=1.2e+04, max_tokens=512]",
        "Downloading tokenizer.json: 100%|██████████| 1.36M/1.36M [00:00<00:00, 5.51MB/s]",
        "epoch=3 step=1200 loss=0.693147 grad_norm=1.25 tokens=1048576 tokens_per_sec=12034.5",
        "tensor([[ 0.1234, -1.5000], [ 2.0000,  3.1416]], device='cuda:0', grad_fn=<AddmmBackward0>)",
        "array([1.00000000e+00, 2.50000000e-01, 3.33333333e-12, 4.44444444e+08])",
        "Linear(in_features=768, out_features=3072, bias=True)",
        "Saved checkpoint to /mnt/data/runs/2026-11-20_12-00-01/epoch=03-val_loss=0.1234.ckpt",
        "saving model to s3://bucket/models/resnet50-2026-11-20T12:00:01Z/model.safetensors",
        "loading https://download.pytorch.org/models/resnet50-0676ba61.pth",
        "Using revision 5f0b94b5e7c3d1a2f4e6b8c0d9e7f5a3b1c2d4e6 of meta-llama/Llama-3.1-8B-Instruct",
        "sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  train.csv",
        'md5=d41d8cd98f00b204e9800998ecf8427e etag=W/"5d8c72a5edda8d6a"',
        "run 0190f3e2-7c4a-7b3e-9d2f-1a2b3c4d5e6f started on host-10-0-0-12.ec2.internal pid=12345",
        "GPU-6e0d4c2a-1b3f-4d5e-8f90-a1b2c3d4e5f6: NVIDIA H100 80GB HBM3, 45C, 700W",
        "pad_token: <pad> eos_token: </s> bos_token_id=1 sep_token='[SEP]' mask_token=[MASK]",
        "special_tokens_map = {'unk_token': '<unk>', 'cls_token': '[CLS]'}",
        "Vocabulary: 32000 tokens; key padding mask: (8, 512); attention keys: torch.Size([8, 12, 64])",
        "primary_key: id, sort_key: created_at, foreign key: user_id, keys=['a', 'b']",
        "author: Ann Example, authors=3, authored_at=2026-11-20T12:00:01.123456+00:00",
        "pin_memory=True, num_workers=4, passes=3, bypass=False, compass=NNW",
        "W1120 12:00:01.123456 140234567890123 warnings.py:110] key 'x' is deprecated",
        "ncclUniqueId 0x7f3b2c1d0e9f8a7b 140234567890123456",
        "precision    recall  f1-score   support      0       0.98      0.97      0.98      1234",
        "CUDA_VISIBLE_DEVICES=0,1 OMP_NUM_THREADS=4 torchrun --nproc_per_node=2 train.py --max-tokens 512",
        "pip install torch==2.9.0+cu128 numpy==2.3.4 --index-url https://download.pytorch.org/whl/cu128",
        '  File "/home/ann/project/src/models/transformer_block_v2.py", line 123, in forward',
        "KeyError: 'image_path'",
        "frame #3: _ZN2at6native12_GLOBAL__N_19conv2dERKNS_6TensorES4_RKSt8optionalIS2_E + 0x1f",
        '<a accesskey="p" href="index.html">up</a>',
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x784 and 512x10)",
        "optimizer.param_groups[0]['params'][12].grad.abs().max() = 1.2345678901234567e-05",
        "ResNet50_Weights.IMAGENET1K_V2 EfficientNet_B0_Weights.IMAGENET1K_V1",
        "bert-base-uncased-finetuned-sst-2-english-v1-2026-11-20-checkpoint-12000",
        "commit 5f0b94b (HEAD -> main, origin/main) Fix the token count per batch: 12 instead of 13",
        "(Worker pid=1234, ip=10.0.0.1) actor_id=f4d2c1b0a9e8d7c6b5a4f3e2d1c0b9a8f7e6d5c4b3a2",
        f"<img src='data:image/png;base64,{PICTURE[:200]}'>",
        f"embedding {PICTURE + PICTURE}",
        "-" * 120,
        "=" * 120,
        "#" * 80 + " 100.0%",
    ],
)
def test_output_that_stays(line: str) -> None:
    """Lines that training programs print are left alone, to the letter."""
    assert redact_text(line) == (line, ())


def test_pictures_stay_in_code() -> None:
    """Encoded pictures and weights in notebooks and sources are data."""
    cell = f'"image/png": "{PICTURE}", "hash": "{noise(44)}"'

    assert redact_text(cell, code=True) == (cell, ())
