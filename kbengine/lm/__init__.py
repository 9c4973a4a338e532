"""Language models behind `kbengine.protocols.LanguageModel`."""
