"""Fine-tuning by TRL and PEFT (`superalign[trl]`): supervised, reward, DPO, GRPO. Light to import; see `fitting`."""
