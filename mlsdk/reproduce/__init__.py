"""Making again what a run was made from, and whether that is still there.

- restore: `restore` by `enclosed`, `apart`
- rerun: `rerun` by `recipe`, `world`, `folders`, `place`, `placing`, `carrier`, `links`, `command`, `options`,
  `variables`, `order`, `process`, `standing`, `standstill`
- environments: `environment` by `interpreter`, `building`, `packages`
- verify: `verify` by `trials`, `contents`, `outputs`, `artifacts`, `gap`, `interval`, `levels`; `suspects`, `blame`;
  `verdict`, `attest`
- status: `staleness` by `choosing`, `kinds`, `code_now`, `data_now`, `environment_now`, `files_now`,
  `lineage`, `place`, `held`, `told`; `retrain`
"""
