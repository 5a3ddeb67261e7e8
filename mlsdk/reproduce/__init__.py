"""Making again what a run was made from, and whether that is still there.

- `restore`, `rerun`, `verify`, `staleness` (`mlsdk.status`), `retrain`: each public verb is a module
- restoring: `enclosed` (what lies beside the code), `apart` (what the tree does not hold)
- rerunning: `recipe` says what is wanted; then `world`, `environments`, `program`
- verifying: `trials` compare by `outcome`; `levels`, `suspects`, `blame` lead to a `verdict`, which `attest` keeps
- status: `now`
"""
