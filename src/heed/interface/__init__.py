"""The one place that touches transformers' attention and mask interfaces."""
