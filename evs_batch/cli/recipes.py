"""`evs-batch recipes`: the ready recipes."""

import json

import typer

app = typer.Typer(invoke_without_command=True)


@app.callback()
def recipes(
    context: typer.Context,
    as_json: bool = typer.Option(False, "--json", help="Print names and compositions as one JSON object."),
) -> None:
    """The ready recipes; `recipes show R` prints one, resolved.

    Examples:

        evs-batch recipes

        evs-batch recipes show enhance --toml > mine.toml
    """
    if context.invoked_subcommand is None:
        from evs_batch.spec.recipe import recipe_names
        from evs_batch.store.recipes import load_recipe

        found = {name: load_recipe(name).composition for name in recipe_names()}
        if as_json:
            typer.echo(json.dumps(found, indent=1))
            return
        for name, composition in found.items():
            typer.echo(f"{name:<12} {composition}")


@app.command()
def show(
    recipe: str = typer.Argument(help="A ready recipe, a TOML file, or a JSON config of the EVS release."),
    as_toml: bool = typer.Option(False, "--toml", help="As TOML, to be changed and run; default: JSON."),
) -> None:
    """Print a recipe with all its keys.

    Examples:

        evs-batch recipes show enhance --toml > mine.toml

        evs-batch recipes show release.json --toml
    """
    from evs_batch.spec import toml
    from evs_batch.store.recipes import load_recipe

    loaded = load_recipe(recipe).model_dump(mode="json")
    typer.echo(toml.dump(loaded) if as_toml else json.dumps(loaded, indent=2))


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes.

    Example:

        evs-batch recipes schema > recipe.schema.json
    """
    from evs_batch.spec.recipe import Recipe

    typer.echo(json.dumps(Recipe.model_json_schema(), indent=2))


@app.command("keys")
def show_keys() -> None:
    """Print every key with its default, range, meaning and source, as a Markdown table.

    Example:

        evs-batch recipes keys | grep t2v
    """
    from evs_batch.spec import keys

    typer.echo(keys.markdown(), nl=False)
