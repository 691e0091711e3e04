"""The Fourier basis and the isotypic projections."""

import pytest
import torch

from tasks.groups import finite_group, fourier_basis, irreps, isotypic_projection

NAMES = ["C1", "C5", "C12", "C113", "D4", "D59", "S4", "S5@published", "A4", "A5", "Q8", "Dic5"]
NAMES += ["C3xQ8", "C2xS3", "A6"]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize("name", NAMES)
def test_basis_is_orthogonal_and_in_blocks(name):
    group = finite_group(name)
    basis = fourier_basis(group)
    eye = torch.eye(group.order, dtype=torch.float64)
    torch.testing.assert_close(basis.matrix.T @ basis.matrix, eye, atol=1e-12, rtol=0)
    for index, (irrep, block) in enumerate(zip(irreps(group), basis.blocks, strict=True)):
        columns = basis.matrix[:, block]
        assert columns.shape[1] == irrep.rank
        assert (basis.irrep_index[block] == index).all()
        # within the span of the matrix entries, found without our formula
        entries = irrep.matrices.flatten(1)
        fitted = entries @ torch.linalg.lstsq(entries, columns, driver="gelsd").solution
        torch.testing.assert_close(fitted, columns, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_plancherel(name, generator):
    group = finite_group(name)
    x = torch.randn(group.order, 3, generator=generator, dtype=torch.float64)
    coefficients = fourier_basis(group).matrix.T @ x
    torch.testing.assert_close(coefficients.square().sum(0), x.square().sum(0))
    for irrep, block in zip(irreps(group), fourier_basis(group).blocks, strict=True):
        projected = isotypic_projection(irrep, group, x)
        energy = coefficients[block].square().sum(0)
        torch.testing.assert_close(projected.square().sum(0), energy, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_projections_by_their_definition(name):
    group = finite_group(name)
    eye = torch.eye(group.order, dtype=torch.float64)
    total = torch.zeros_like(eye)
    for irrep in irreps(group):
        projection = isotypic_projection(irrep, group, eye)
        scale = irrep.dimension / (irrep.endomorphism_dimension * group.order)
        defined = scale * irrep.character[group.table[group.inverses]]  # chi(g^-1 h)
        torch.testing.assert_close(projection, defined, atol=1e-12, rtol=0)
        torch.testing.assert_close(projection @ projection, projection, atol=1e-12, rtol=0)
        assert int(torch.linalg.matrix_rank(projection, tol=1e-8)) == irrep.rank
        total += projection
    torch.testing.assert_close(total, eye, atol=1e-12, rtol=0)


def test_real_type_columns_are_scaled_matrix_entries():
    group = finite_group("S4")
    for irrep, block in zip(irreps(group), fourier_basis(group).blocks, strict=True):
        expected = (irrep.dimension / 24) ** 0.5 * irrep.matrices.flatten(1)
        torch.testing.assert_close(fourier_basis(group).matrix[:, block], expected)


def test_d4_and_q8_share_characters_but_not_dimensions():
    faithful = [irreps(finite_group(name))[-1] for name in ("D4", "Q8")]
    assert [(i.dimension, i.rank) for i in faithful] == [(2, 4), (4, 4)]


def test_projection_keeps_shape_and_dtype(generator):
    group = finite_group("S4")
    for shape in [(24,), (24, 3), (24, 2, 5), (24, 0)]:
        x = torch.randn(shape, generator=generator)
        projected = isotypic_projection(irreps(group)[2], group, x)
        assert projected.shape == x.shape and projected.dtype == torch.float32
